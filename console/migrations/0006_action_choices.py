"""Take the choices of actions from the registry, and reword help texts. This runs no SQL."""

from django.db import migrations, models

import console.models


class Migration(migrations.Migration):
    dependencies = [("console", "0005_hold")]

    operations = [
        migrations.AlterField(
            "run",
            "action",
            models.CharField(choices=console.models.action_choices, max_length=20),
        ),
        migrations.AlterField(
            "logentry",
            "action",
            models.CharField(choices=console.models.action_choices, max_length=20),
        ),
        migrations.AlterField(
            "run",
            "radius",
            models.JSONField(default=dict, help_text="The impact that was confirmed."),
        ),
        migrations.AlterField(
            "runitem",
            "due_at",
            models.DateTimeField(
                null=True,
                help_text="A worker may act on the item from this time on. Null before the run starts.",
            ),
        ),
        migrations.AlterField(
            "logentry",
            "order_id",
            models.UUIDField(
                null=True, help_text="Null where the entry is about the whole run."
            ),
        ),
        migrations.AlterField(
            "logentry",
            "failure",
            models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Key of the failure that the order had at that time.",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            "logentry",
            "about",
            models.TextField(
                blank=True,
                db_default="",
                default="",
                help_text="The failing step and its error, without ids, times and numbers.",
            ),
        ),
    ]
