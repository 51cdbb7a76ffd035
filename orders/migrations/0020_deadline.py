from django.db import migrations, models


class Migration(migrations.Migration):
    """Add the deadline of an order's saga: null for the orders that are there."""

    dependencies = [("orders", "0019_signal")]

    operations = [
        migrations.AddField(
            model_name="order",
            name="deadline_at",
            field=models.DateTimeField(
                editable=False,
                help_text="The saga is undone from then on, until its pivot. Null: none, or it has acted.",
                null=True,
            ),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(
                condition=models.Q(("deadline_at__isnull", False), ("ended_at", None)),
                fields=["deadline_at"],
                name="orders_order_late",
            ),
        ),
    ]
