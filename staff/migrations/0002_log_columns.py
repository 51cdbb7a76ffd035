"""Give the log the columns of the chain, and the address. The next migration fills them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("staff", "0001_log")]

    operations = [
        migrations.AddField(
            "logentry",
            "seq",
            models.BigIntegerField(
                db_default=0, editable=False, help_text="Without gaps, from 1.", verbose_name="number"
            ),
        ),
        migrations.AddField("logentry", "hash", models.BinaryField(db_default=b"", editable=False)),
        migrations.AddField(
            "logentry",
            "address",
            models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Address of the client; for a command, the name of the host.",
                max_length=100,
            ),
        ),
        migrations.AlterField(
            "logentry",
            "via",
            models.CharField(
                blank=True,
                db_default="console",
                default="console",
                help_text="Where it was done: console, admin, api, command or system.",
                max_length=10,
            ),
        ),
        migrations.CreateModel(
            name="LogHead",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("seq", models.BigIntegerField()),
                ("hash", models.BinaryField()),
                ("begin_seq", models.BigIntegerField()),
                ("begin_hash", models.BinaryField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="staff_loghead_one_row"
                    )
                ]
            },
        ),
        migrations.CreateModel(
            name="LogCheck",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("seq", models.BigIntegerField(help_text="The last entry that was checked.")),
                ("hash", models.BinaryField()),
                ("checked_at", models.DateTimeField()),
                ("fault", models.TextField(blank=True, db_default="", default="")),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="staff_logcheck_one_row"
                    )
                ]
            },
        ),
    ]
