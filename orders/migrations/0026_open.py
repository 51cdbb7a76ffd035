from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0025_held_to'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='order',
            index=models.Index(condition=models.Q(('ended_at', None)), fields=['on_hold', 'rescue_at'], name='orders_order_open'),
        ),
    ]
