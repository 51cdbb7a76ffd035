from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("payments", "0016_owed_until_refunded"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="drift",
            options={"verbose_name": "difference"},
        ),
    ]
