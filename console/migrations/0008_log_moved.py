"""Leave the log to the app `staff`. This runs no SQL."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("console", "0007_closed_differences"), ("staff", "0001_log")]

    operations = [
        migrations.SeparateDatabaseAndState(state_operations=[migrations.DeleteModel("LogEntry")])
    ]
