"""Storage for tables whose rows are updated soon after they were written, again and again."""

from django.db import migrations

# The relay looks through an index of what is not sent. Each row that is sent leaves a dead entry there, so these tables
# are vacuumed after so many rows rather than after a fifth of all history.
CHURNED = "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000"

# Few rows that every order updates: with room on its page, the new version of one needs no new entry in the index.
ROOMY = "fillfactor = 25"


class Migration(migrations.Migration):
    dependencies = [("inventory", "0002_reading")]

    operations = [
        migrations.RunSQL(
            f"ALTER TABLE inventory_outbox SET ({CHURNED})",
            "ALTER TABLE inventory_outbox RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)",
        ),
        migrations.RunSQL(
            f"ALTER TABLE inventory_inbox SET ({CHURNED})",
            "ALTER TABLE inventory_inbox RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)",
        ),
        migrations.RunSQL(
            f"ALTER TABLE inventory_stockitem SET ({ROOMY})",
            "ALTER TABLE inventory_stockitem RESET (fillfactor)",
        ),
    ]
