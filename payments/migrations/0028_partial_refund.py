"""The refunds of parts of payments. The table is new, so no other table is locked."""

import django.db.models.expressions
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('payments', '0027_signal'),
    ]

    operations = [
        migrations.CreateModel(
            name='PartialRefund',
            fields=[
                ('id', models.UUIDField(editable=False, help_text='The id of the saga that asked for the refund.', primary_key=True, serialize=False)),
                ('order_id', models.UUIDField(db_index=True)),
                ('asked_amount', models.BigIntegerField(help_text='The amount that the saga asked for, in minor units.')),
                ('amount', models.BigIntegerField(help_text='The amount to give back, in minor units: the asked amount, or the part of it that the partial refunds before have left of the charge.')),
                ('refunded_amount', models.BigIntegerField(db_default=0, default=0, help_text='The sum of the succeeded refunds under the key, in minor units.')),
                ('covered_amount', models.BigIntegerField(db_default=0, default=0, help_text='The part of the amount that the customer has by other refunds or lost disputes of the charge, or from a person, in minor units.')),
                ('currency', models.CharField(max_length=3)),
                ('status', models.CharField(choices=[('pending', 'Pending'), ('succeeded', 'Succeeded'), ('failed', 'Failed')], db_default='pending', default='pending', max_length=9)),
                ('key', models.CharField(help_text='The idempotency key of the refund.', max_length=255, unique=True)),
                ('key_number', models.IntegerField(db_default=1, default=1, editable=False, help_text='The number of the next key. A key under which the gateway keeps an error has a successor.')),
                ('refund_id', models.CharField(blank=True, db_default='', default='', help_text="The gateway's id of the refund.", max_length=255)),
                ('reference', models.CharField(blank=True, db_default='', default='', help_text='The reference of a refund that a person made, at the gateway or in another way.', max_length=255)),
                ('expected_at', models.DateTimeField(editable=False, help_text="When the gateway's decision is due at the latest, while it is not decided.", null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('status', 'failed')), fields=['id'], name='payments_partialrefund_owed'), models.Index(condition=models.Q(('status', 'pending')), fields=['id'], name='payments_partialrefund_open'), models.Index(fields=['updated_at'], name='payments_partialrefund_updated')],
                'constraints': [models.CheckConstraint(condition=models.Q(('amount__gte', 0), ('amount__lte', models.F('asked_amount')), ('asked_amount__gt', 0)), name='payments_partialrefund_amount'), models.CheckConstraint(condition=models.Q(('covered_amount__gte', 0), ('refunded_amount__gte', 0), ('refunded_amount__lte', django.db.models.expressions.CombinedExpression(models.F('amount'), '-', models.F('covered_amount')))), name='payments_partialrefund_refunded'), models.CheckConstraint(condition=models.Q(('status__in', ('pending', 'succeeded', 'failed'))), name='payments_partialrefund_status')],
            },
        ),
    ]
