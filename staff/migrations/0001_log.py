"""Take over the console's log: the table, its content type and its permissions; and widen it."""

import django.db.models.functions.datetime
from django.db import migrations, models

import sagas.ids
import staff.policy

# The permissions of a content type belong to it, so groups keep them.
MOVE_CONTENT_TYPE = """
UPDATE django_content_type SET app_label = 'staff'
 WHERE app_label = 'console' AND model = 'logentry'
   AND NOT EXISTS (SELECT 1 FROM django_content_type WHERE app_label = 'staff' AND model = 'logentry')
"""
MOVE_BACK = """
UPDATE django_content_type SET app_label = 'console' WHERE app_label = 'staff' AND model = 'logentry'
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("console", "0007_closed_differences"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="LogEntry",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                default=sagas.ids.uuid7,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        (
                            "at",
                            models.DateTimeField(
                                db_default=django.db.models.functions.datetime.Now(), editable=False
                            ),
                        ),
                        ("who", models.CharField(max_length=150)),
                        ("what", models.CharField(choices=[], max_length=20)),
                        (
                            "action",
                            models.CharField(choices=staff.policy.action_choices, max_length=20),
                        ),
                        (
                            "step",
                            models.CharField(blank=True, db_default="", default="", max_length=100),
                        ),
                        (
                            "run",
                            models.UUIDField(help_text="Null where the action is no run.", null=True),
                        ),
                        (
                            "order_id",
                            models.UUIDField(
                                help_text="Null where the entry is about the whole run.", null=True
                            ),
                        ),
                        ("why", models.TextField(blank=True)),
                        ("outcome", models.TextField(blank=True)),
                        (
                            "failure",
                            models.CharField(
                                blank=True,
                                db_default="",
                                default="",
                                help_text="Key of the failure that the order had at that time.",
                                max_length=16,
                            ),
                        ),
                        (
                            "about",
                            models.TextField(
                                blank=True,
                                db_default="",
                                default="",
                                help_text="The failing step and its error, without ids, times and numbers; or the closed difference.",
                            ),
                        ),
                    ],
                    options={
                        "verbose_name_plural": "log",
                        "db_table": "console_logentry",
                        "indexes": [
                            models.Index(
                                condition=models.Q(("order_id__isnull", False)),
                                fields=["order_id", "id"],
                                name="console_log_order",
                            ),
                            models.Index(fields=["run"], name="console_log_run"),
                            models.Index(
                                condition=models.Q(("failure", ""), _negated=True),
                                fields=["failure", "id"],
                                name="console_log_failure",
                            ),
                            models.Index(fields=["who", "id"], name="console_log_who"),
                        ],
                    },
                ),
            ],
        ),
        migrations.RunSQL(MOVE_CONTENT_TYPE, MOVE_BACK),
        migrations.AlterField(
            "logentry", "action", models.CharField(choices=staff.policy.action_choices, max_length=40)
        ),
        migrations.AlterField(
            "logentry",
            "what",
            models.CharField(
                choices=[
                    ("requested", "requested"),
                    ("awaiting", "asked for approval"),
                    ("approved", "approved"),
                    ("declined", "declined"),
                    ("acted", "acted"),
                    ("ended", "ended"),
                    ("closed", "closed"),
                    ("intended", "intended"),
                    ("done", "done"),
                    ("failed", "failed"),
                    ("refused", "refused"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddField(
            "logentry",
            "via",
            models.CharField(
                blank=True,
                db_default="console",
                default="console",
                help_text="Where it was done: console, admin, api, command or login.",
                max_length=10,
            ),
        ),
        migrations.AddField(
            "logentry",
            "subject",
            models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The object of the action, such as a SKU, if it is no order and no step.",
                max_length=200,
            ),
        ),
        migrations.AddField(
            "logentry",
            "approver",
            models.CharField(blank=True, db_default="", default="", max_length=150),
        ),
    ]
