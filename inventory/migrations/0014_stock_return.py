import django.db.models.deletion
import django.db.models.functions.datetime
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    """Count the pieces that came back. The pieces that are shipped already have not."""

    dependencies = [("inventory", "0013_signal")]

    operations = [
        migrations.AddField(
            model_name="stockitem",
            name="returned",
            field=models.BigIntegerField(
                db_default=0, default=0, help_text="The shipped pieces that came back."
            ),
        ),
        AddConstraintNotValid(
            model_name="stockitem",
            constraint=models.CheckConstraint(
                condition=models.Q(("returned__gte", 0), ("returned__lte", models.F("shipped"))),
                name="inventory_stock_returned",
            ),
        ),
        migrations.CreateModel(
            name="StockReturn",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("return_id", models.UUIDField(help_text="The saga of the return.")),
                ("order_id", models.UUIDField()),
                ("restocked", models.IntegerField()),
                ("written_off", models.IntegerField()),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                (
                    "item",
                    models.ForeignKey(
                        db_column="sku",
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="returns",
                        to="inventory.stockitem",
                        to_field="sku",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["order_id"], name="inventory_return_of_order"),
                    models.Index(fields=["item", "-id"], name="inventory_return_of_item"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("return_id", "item"), name="inventory_return_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("restocked__gte", 0),
                            ("written_off__gte", 0),
                            models.Q(("restocked__gt", 0), ("written_off__gt", 0), _connector="OR"),
                        ),
                        name="inventory_return_of_something",
                    ),
                ],
            },
        ),
    ]
