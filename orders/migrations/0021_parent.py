from django.db import migrations, models


class Migration(migrations.Migration):
    """Add the saga that started an order's saga as its child: none for the orders that are there."""

    dependencies = [("orders", "0020_deadline")]

    operations = [
        migrations.AddField(
            model_name="order",
            name="parent_saga",
            field=models.UUIDField(
                editable=False, help_text="The saga that started this one as its child.", null=True
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="parent_step",
            field=models.CharField(
                db_default="",
                default="",
                editable=False,
                help_text="The step of the parent, which waits for the end of this saga.",
                max_length=100,
            ),
        ),
    ]
