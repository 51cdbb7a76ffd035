"""Events of the gateway are listed by when they came, and found by what they are about, by index."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Give the table both indexes; the one by time takes the place of the coarse one."""

    dependencies = [("payments", "0007_hold")]

    operations = [
        migrations.RemoveIndex(model_name="webhookevent", name="payments_webhook_age"),
        migrations.AddIndex(
            model_name="webhookevent", index=models.Index(fields=["object_id"], name="payments_webhook_object")
        ),
        migrations.AddIndex(
            model_name="webhookevent", index=models.Index(fields=["received_at"], name="payments_webhook_received")
        ),
    ]
