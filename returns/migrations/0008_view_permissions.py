"""Let the groups of earlier releases view returns, as the same groups of a new system do."""

from typing import Any

from django.db import migrations

GROUPS = ("viewer", "operator", "approver")


def give_view_permissions(apps: Any, schema_editor: Any) -> None:
    """Give existing groups the view of all tables of the app. New groups get it when made."""
    using = schema_editor.connection.alias
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    content_types = apps.get_model("contenttypes", "ContentType").objects.using(using)

    views = []
    for model in apps.get_app_config("returns").get_models():
        options = model._meta
        table, _ = content_types.get_or_create(app_label="returns", model=options.model_name)
        view, _ = permissions.get_or_create(
            content_type=table,
            codename=f"view_{options.model_name}",
            defaults={"name": f"Can view {options.verbose_name}"},
        )
        views.append(view)
    groups = apps.get_model("auth", "Group").objects.using(using)
    for group in groups.filter(name__in=GROUPS):
        group.permissions.add(*views)


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("returns", "0007_validate_amounts"),
    ]

    operations = [migrations.RunPython(give_view_permissions, migrations.RunPython.noop)]
