"""Name sagas, and not orders, in the permissions of steps and in two help texts."""

from typing import Any

from django.db import migrations, models

NAMES = {
    "pause_step": "Can put a step on hold for all sagas",
    "hold_step": "Can release a step that is on hold for all sagas",
}


def rename_permissions(apps: Any, schema_editor: Any) -> None:
    """Rename the existing permissions. Django names a permission only as it creates it."""
    permissions = apps.get_model("auth", "Permission").objects.using(schema_editor.connection.alias)
    for codename, name in NAMES.items():
        permissions.filter(
            content_type__app_label="console", content_type__model="run", codename=codename
        ).update(name=name)


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("console", "0011_person_and_day"),
    ]

    operations = [
        migrations.AlterModelOptions(
            "run",
            options={
                "permissions": (
                    ("approve_run", "Can approve what another has requested"),
                    *NAMES.items(),
                )
            },
        ),
        migrations.AlterField(
            "runitem",
            "order_id",
            models.UUIDField(
                help_text="Null where the run is about a step of all sagas.",
                null=True,
                verbose_name="saga",
            ),
        ),
        migrations.RunPython(rename_permissions, migrations.RunPython.noop),
    ]
