from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    """Let free products come back. Goodwill is still above 0."""

    dependencies = [("returns", "0005_reading")]

    operations = [
        migrations.RemoveConstraint(
            model_name="returnedorder", name="returns_order_amount_positive"
        ),
        migrations.RemoveConstraint(model_name="return", name="returns_amount_positive"),
        migrations.RemoveConstraint(model_name="returnline", name="returns_line_amount"),
        AddConstraintNotValid(
            model_name="returnedorder",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gte", 0)), name="returns_order_amount_bounded"
            ),
        ),
        AddConstraintNotValid(
            model_name="return",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount__gte", 1),
                    models.Q(("amount", 0), ("kind", "goods")),
                    _connector="OR",
                ),
                name="returns_amount_bounded",
            ),
        ),
        AddConstraintNotValid(
            model_name="returnline",
            constraint=models.CheckConstraint(
                condition=models.Q(("unit_amount__gte", 0)), name="returns_line_amount"
            ),
        ),
    ]
