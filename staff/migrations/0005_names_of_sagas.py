"""Name sagas, and not orders, in the labels and help texts of the log."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("staff", "0004_staff_without_role")]

    operations = [
        migrations.AlterField(
            "logentry",
            "order_id",
            models.UUIDField(
                help_text="Null where the entry is about the whole run.",
                null=True,
                verbose_name="saga",
            ),
        ),
        migrations.AlterField(
            "logentry",
            "subject",
            models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The object of the action, such as a SKU, if it is no saga and no step.",
                max_length=200,
            ),
        ),
        migrations.AlterField(
            "logentry",
            "failure",
            models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Key of the failure that the saga had at that time.",
                max_length=16,
            ),
        ),
    ]
