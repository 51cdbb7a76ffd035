from django.db import migrations


class Migration(migrations.Migration):
    # The migration before adds an index, and writers wait for its end. To remove an index in the
    # same transaction could end in a deadlock with one of them.

    dependencies = [
        ('returns', '0011_open'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='return',
            name='returns_return_rescue',
        ),
    ]
