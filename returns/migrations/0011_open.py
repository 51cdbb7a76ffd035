from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('returns', '0010_held_to'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='return',
            index=models.Index(condition=models.Q(('ended_at', None)), fields=['on_hold', 'rescue_at'], name='returns_return_open'),
        ),
    ]
