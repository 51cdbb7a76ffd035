"""The tables of release 1.0: release 1.0 of the engine wrote this migration for a host with one app.

It is frozen. Never change it and never write it again: the upgrade of these tables is the test.
"""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.functions.datetime
import sagas.ids
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Hold',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('saga', models.UUIDField(null=True, unique=True)),
                ('step', models.CharField(max_length=100, null=True, unique=True)),
                ('since', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('by', models.CharField(help_text="The user's name; users are in another database.", max_length=150)),
                ('why', models.TextField()),
            ],
            options={
                'abstract': False,
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('saga', None), ('step__isnull', False)), models.Q(('saga__isnull', False), ('step', None)), _connector='OR'), name='legacy_hold_one_thing')],
            },
        ),
        migrations.CreateModel(
            name='Inbox',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('saga', models.UUIDField()),
                ('saga_started_at', models.DateTimeField()),
                ('step', models.CharField(max_length=100)),
                ('state', models.CharField(choices=[('started', 'Started'), ('waiting', 'Waiting'), ('held', 'Held'), ('done', 'Done'), ('refused', 'Refused')], max_length=10)),
                ('attempts', models.IntegerField(default=0)),
                ('error', models.TextField(blank=True, default='')),
                ('due_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), help_text='An open row may be taken over from then on.')),
                ('send_at', models.DateTimeField(help_text="When the service's own relay sends an open row again.", null=True)),
                ('message', models.JSONField(help_text='The message, kept while the row is open.', null=True)),
                ('by_hand', models.JSONField(help_text='Who marked the step as done, and on what evidence.', null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'verbose_name_plural': 'inbox',
                'abstract': False,
                'indexes': [models.Index(condition=models.Q(('state__in', ('started', 'waiting'))), fields=['send_at'], name='legacy_inbox_send'), models.Index(condition=models.Q(('state', 'held')), fields=['step', 'id'], name='legacy_inbox_held'), django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['saga_started_at'], name='legacy_inbox_age')],
                'constraints': [models.UniqueConstraint(fields=('saga', 'step'), name='legacy_inbox_once'), models.CheckConstraint(condition=models.Q(('state__in', ('started', 'waiting', 'held', 'done', 'refused'))), name='legacy_inbox_state')],
            },
        ),
        migrations.CreateModel(
            name='Outbox',
            fields=[
                ('id', models.UUIDField(default=sagas.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('saga', models.UUIDField()),
                ('saga_started_at', models.DateTimeField()),
                ('seq', models.IntegerField(help_text='Hops since the saga began.')),
                ('type', models.CharField(max_length=100)),
                ('step', models.CharField(blank=True, help_text='The step that wrote this; empty for the start.', max_length=100)),
                ('step_attempt', models.IntegerField(default=1)),
                ('data', models.JSONField(help_text="The event's own facts.")),
                ('context', models.JSONField(help_text='What travels with the saga: what it was started with, and its failure.')),
                ('plan', models.JSONField()),
                ('target', models.CharField(help_text='The next step; null at the end of the saga.', max_length=100, null=True)),
                ('headers', models.JSONField(default=dict)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('due_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('published_at', models.DateTimeField(null=True)),
                ('attempts', models.IntegerField(default=0, help_text='How often a relay has claimed this row.')),
                ('last_error', models.TextField(blank=True, default='')),
            ],
            options={
                'verbose_name_plural': 'outbox',
                'abstract': False,
                'indexes': [models.Index(condition=models.Q(('published_at', None)), fields=['due_at'], name='legacy_outbox_due'), models.Index(fields=['saga'], name='legacy_outbox_saga'), django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['saga_started_at'], name='legacy_outbox_age')],
            },
        ),
        migrations.CreateModel(
            name='TimelineEvent',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('saga', models.UUIDField()),
                ('seq', models.IntegerField()),
                ('type', models.CharField(max_length=100)),
                ('service', models.CharField(max_length=50)),
                ('step', models.CharField(blank=True, max_length=100)),
                ('attempt', models.IntegerField(default=1)),
                ('at', models.DateTimeField()),
                ('recorded_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False, help_text="By the clock of the saga's home; in one saga, in order of commit.")),
                ('detail', models.JSONField()),
            ],
            options={
                'ordering': ('at', 'seq', 'id'),
                'abstract': False,
                'indexes': [models.Index(fields=['saga', 'at'], name='legacy_timeline_saga')],
            },
        ),
        migrations.CreateModel(
            name='Trip',
            fields=[
                ('plan', models.JSONField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('ended_at', models.DateTimeField(editable=False, null=True)),
                ('rescue_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False, help_text='Re-driven if it has not moved by then.')),
                ('redrives', models.IntegerField(default=0, editable=False)),
                ('needs_attention', models.BooleanField(default=False)),
                ('on_hold', models.CharField(db_default='', default='', editable=False, help_text='The step at which it was last told to wait.', max_length=100)),
                ('id', models.UUIDField(default=sagas.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('status', models.CharField(default='open', max_length=20)),
            ],
            options={
                'abstract': False,
                'indexes': [models.Index(condition=models.Q(('ended_at', None)), fields=['rescue_at'], name='legacy_trip_rescue')],
            },
        ),
        migrations.CreateModel(
            name='Watermark',
            fields=[
                ('id', models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('before', models.DateTimeField()),
                ('kept', django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), default=list, size=None)),
            ],
            options={
                'abstract': False,
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='legacy_watermark_single')],
            },
        ),
    ]
