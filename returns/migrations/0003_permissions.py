"""Give the groups of earlier releases what the same groups of a new system have."""

from typing import Any

from django.db import migrations

NAMES = {
    "approve_return": "Can approve or refuse a return",
    "receive_return": "Can receive the goods of a return",
    "give_goodwill": "Can propose money out of goodwill",
}
GIVEN = {"operator": ("receive_return", "give_goodwill"), "approver": ("approve_return",)}


def give_permissions(apps: Any, schema_editor: Any) -> None:
    """Give the permissions to existing groups. New groups get them when they are made."""
    using = schema_editor.connection.alias
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    groups = apps.get_model("auth", "Group").objects.using(using)
    content_types = apps.get_model("contenttypes", "ContentType").objects.using(using)

    returns, _ = content_types.get_or_create(app_label="returns", model="return")
    for group in groups.filter(name__in=GIVEN):
        for codename in GIVEN[group.name]:
            permission, _ = permissions.get_or_create(
                content_type=returns, codename=codename, defaults={"name": NAMES[codename]}
            )
            group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("returns", "0002_legal_transitions"),
    ]

    operations = [migrations.RunPython(give_permissions, migrations.RunPython.noop)]
