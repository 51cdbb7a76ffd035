"""Storage for tables whose rows are updated soon after they were written, again and again."""

from django.db import migrations

# The relay looks through an index of what is not sent. Each row that is sent leaves a dead entry there, so these tables
# are vacuumed after so many rows rather than after a fifth of all history.
CHURNED = "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000"

# The status rises several times: with room on its page, the new version of a row needs no new entries in the indexes.
ROOMY = "fillfactor = 75"


class Migration(migrations.Migration):
    dependencies = [("orders", "0004_order_action")]

    operations = [
        migrations.RunSQL(
            f"ALTER TABLE orders_outbox SET ({CHURNED})",
            "ALTER TABLE orders_outbox RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)",
        ),
        migrations.RunSQL(
            f"ALTER TABLE orders_inbox SET ({CHURNED})",
            "ALTER TABLE orders_inbox RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)",
        ),
        migrations.RunSQL(
            f"ALTER TABLE orders_order SET ({ROOMY})",
            "ALTER TABLE orders_order RESET (fillfactor)",
        ),
    ]
