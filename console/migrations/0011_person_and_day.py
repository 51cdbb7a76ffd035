"""Count refunds by person and day, and let operators pause steps.

Who could hold steps, and the group of operators, get the new permission to pause them. The index is
on a small table.
"""

from typing import Any

from django.db import migrations, models

MAY_PAUSE = "Can put a step on hold for all orders"
MAY_RELEASE = "Can release a step that is on hold for all orders"


def give_pause(apps: Any, schema_editor: Any) -> None:
    """Give the permission to existing groups and users. New groups get it when they are made."""
    using = schema_editor.connection.alias
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    groups = apps.get_model("auth", "Group").objects.using(using)
    content_types = apps.get_model("contenttypes", "ContentType").objects.using(using)

    runs, _ = content_types.get_or_create(app_label="console", model="run")
    pause, _ = permissions.get_or_create(
        content_type=runs, codename="pause_step", defaults={"name": MAY_PAUSE}
    )
    releases = permissions.filter(content_type=runs, codename="hold_step")
    releases.update(name=MAY_RELEASE)

    for group in groups.filter(models.Q(name="operator") | models.Q(permissions__in=releases)):
        group.permissions.add(pause)
    for release in releases:
        for user in release.user_set.using(using).all():
            user.user_permissions.add(pause)


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("console", "0010_failed_task_ids"),
    ]

    operations = [
        migrations.AlterModelOptions(
            "run",
            options={
                "permissions": (
                    ("approve_run", "Can approve what another has requested"),
                    ("pause_step", MAY_PAUSE),
                    ("hold_step", MAY_RELEASE),
                )
            },
        ),
        migrations.AddField(
            "run",
            "over_limit",
            models.JSONField(
                null=True,
                help_text="The allowances of refunds that the run exceeds, so it needs a second"
                " person. Null if it exceeds none.",
            ),
        ),
        migrations.AddField(
            "run",
            "decided_at",
            models.DateTimeField(
                null=True, help_text="When another person approved or declined it."
            ),
        ),
        migrations.AddIndex(
            "run",
            models.Index(
                condition=models.Q(("decided_by", None), ("state__in", ("running", "ended"))),
                fields=["requested_by", "confirmed_at"],
                name="console_run_allowance",
            ),
        ),
        migrations.RunPython(give_pause, migrations.RunPython.noop),
    ]
