"""A payment remembers the gateway it was opened with. Of older ones that is known where the simulated gateway has their key."""

from django.db import migrations, models

SIMULATED = """
UPDATE payments_payment SET gateway = 'simulated'
 WHERE charge_key IN (SELECT key FROM payments_simulatedintent)
"""


class Migration(migrations.Migration):
    dependencies = [("payments", "0004_storage")]

    operations = [
        migrations.AddField(
            model_name="payment",
            name="gateway",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The gateway it was opened with, and is dealt with through. Empty: of before this was written down.",
                max_length=20,
            ),
        ),
        migrations.RunSQL(SIMULATED, migrations.RunSQL.noop),
    ]
