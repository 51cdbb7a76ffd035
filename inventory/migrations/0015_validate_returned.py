from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    """Check the rows that are there, without a lock that stops the steps."""

    dependencies = [("inventory", "0014_stock_return")]

    operations = [ValidateConstraint(model_name="stockitem", name="inventory_stock_returned")]
