from django.db import migrations


class Migration(migrations.Migration):
    # In a transaction of its own: the one that adds an index keeps out writers until its end, and
    # some of them keep out this one.

    dependencies = [
        ('returns', '0011_open'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='return',
            name='returns_return_rescue',
        ),
    ]
