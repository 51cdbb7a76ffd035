"""The owed amount that a person has paid to the customer outside of the gateway."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("payments", "0020_claims"),
    ]

    operations = [
        migrations.AddField(
            model_name="payment",
            name="paid_otherwise_amount",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                help_text="The owed amount that a person has paid to the customer outside of the "
                "gateway, in minor units. The gateway still has it.",
            ),
        ),
        migrations.AlterField(
            model_name="payment",
            name="refund_reference",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The gateway's id of a refund that a person made, or the reference of a "
                "payment in another way.",
                max_length=255,
            ),
        ),
    ]
