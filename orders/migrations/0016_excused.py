"""The attempts of a step that do not count."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orders", "0015_sent_at")]

    operations = [
        migrations.AddField(
            model_name="inbox",
            name="excused",
            field=models.IntegerField(
                db_default=0,
                default=0,
                help_text="The attempts up to this number do not count, because the last of them "
                "failed by no fault of the saga.",
            ),
        ),
    ]
