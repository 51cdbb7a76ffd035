"""Record where a run was requested. The default in the database serves the previous release."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("console", "0008_log_moved")]

    operations = [
        migrations.AddField(
            "run",
            "via",
            models.CharField(
                db_default="console",
                default="console",
                help_text="Where it was requested: console, api or command.",
                max_length=10,
            ),
        ),
    ]
