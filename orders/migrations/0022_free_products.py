from django.contrib.postgres.operations import AddConstraintNotValid
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import migrations, models

MOST = 2**53 - 1


def bounded(field: str, name: str) -> models.CheckConstraint:
    """Return the constraint of an amount from 0 on."""
    condition = models.Q((f"{field}__gte", 0), (f"{field}__lte", MOST))
    return models.CheckConstraint(condition=condition, name=name)


class Migration(migrations.Migration):
    """Let a product cost 0, and so the lines and the amount of an order.

    The rows that are there keep to the narrower rule, so the tables are not read here.
    """

    dependencies = [("orders", "0021_parent")]

    operations = [
        migrations.RemoveConstraint(model_name="product", name="orders_product_amount"),
        migrations.RemoveConstraint(model_name="order", name="orders_amount_bounded"),
        migrations.RemoveConstraint(model_name="orderline", name="orders_line_amount"),
        AddConstraintNotValid(
            model_name="product", constraint=bounded("unit_amount", "orders_product_amount")
        ),
        AddConstraintNotValid(
            model_name="order", constraint=bounded("amount", "orders_amount_bounded")
        ),
        AddConstraintNotValid(
            model_name="orderline", constraint=bounded("unit_amount", "orders_line_amount")
        ),
        migrations.AlterField(
            model_name="product",
            name="unit_amount",
            field=models.BigIntegerField(
                help_text="Minor units. 0 for a free product.",
                validators=[MinValueValidator(0), MaxValueValidator(MOST)],
            ),
        ),
        migrations.AlterField(
            model_name="order",
            name="amount",
            field=models.BigIntegerField(help_text="Minor units. 0 for a free order."),
        ),
        migrations.AlterField(
            model_name="order",
            name="payment_method",
            field=models.CharField(
                help_text="The gateway's id of the payment method, never card data. A free order "
                "may have none.",
                max_length=100,
            ),
        ),
    ]
