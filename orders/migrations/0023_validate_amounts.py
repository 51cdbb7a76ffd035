from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    """Check the rows that are there, without a lock that stops the orders."""

    dependencies = [("orders", "0022_free_products")]

    operations = [
        ValidateConstraint(model_name="product", name="orders_product_amount"),
        ValidateConstraint(model_name="order", name="orders_amount_bounded"),
        ValidateConstraint(model_name="orderline", name="orders_line_amount"),
    ]
