"""Indexes by which the purges find finished reconciliations and closed differences."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("payments", "0018_watermark_per_home"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="drift",
            index=models.Index(
                condition=models.Q(("closed_at__isnull", False)),
                fields=["closed_at"],
                name="payments_drift_closed",
            ),
        ),
        migrations.AddIndex(
            model_name="reconciliation",
            index=models.Index(fields=["finished_at"], name="payments_reconciliation_ended"),
        ),
    ]
