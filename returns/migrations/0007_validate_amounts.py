from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    """Check the rows that are there, without a lock that stops the returns."""

    dependencies = [("returns", "0006_free_products")]

    operations = [
        ValidateConstraint(model_name="returnedorder", name="returns_order_amount_bounded"),
        ValidateConstraint(model_name="return", name="returns_amount_bounded"),
        ValidateConstraint(model_name="returnline", name="returns_line_amount"),
    ]
