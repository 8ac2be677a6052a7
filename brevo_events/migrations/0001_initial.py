
import brevo_events.columns
import brevo_events.indexes
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Gate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reason', models.CharField(blank=True, choices=[('account', 'Wrong key or URL'), ('throttled', 'Too many requests'), ('outage', 'Brevo does not answer')], max_length=10, verbose_name='reason')),
                ('response_code', models.PositiveSmallIntegerField(blank=True, null=True, verbose_name='response code')),
                ('closed_at', models.DateTimeField(blank=True, null=True, verbose_name='closed since')),
                ('closed_until', models.DateTimeField(blank=True, null=True, verbose_name='closed until')),
                ('cooldown', models.PositiveIntegerField(default=0, verbose_name='cool-down (seconds)')),
                ('paused_at', models.DateTimeField(blank=True, null=True, verbose_name='paused since')),
                ('generation', models.PositiveBigIntegerField(default=0, editable=False)),
            ],
            options={
                'verbose_name': 'gate',
                'verbose_name_plural': 'gate',
                'permissions': [('pause_delivery', 'Can pause and resume delivery')],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='HourlyCount',
            fields=[
                ('hour', models.DateTimeField(primary_key=True, serialize=False)),
                ('sent', models.PositiveIntegerField()),
                ('failed', models.PositiveIntegerField()),
                ('newest', models.BigIntegerField()),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='OutboxEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', brevo_events.columns.ExactCharField(max_length=255, verbose_name='event')),
                ('email', brevo_events.columns.ExactCharField(max_length=254, verbose_name='contact')),
                ('contact', models.CharField(editable=False, max_length=64)),
                ('object_id', brevo_events.columns.ExactCharField(blank=True, max_length=255, null=True, verbose_name='object')),
                ('body', brevo_events.columns.ExactTextField(verbose_name='body')),
                ('source', brevo_events.columns.ExactCharField(blank=True, editable=False, max_length=150)),
                ('status', models.CharField(choices=[('pending', 'Pending'), ('sending', 'Sending'), ('sent', 'Sent'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='pending', max_length=10, verbose_name='status')),
                ('reason', models.CharField(blank=True, choices=[('rejected', 'Rejected by Brevo'), ('gave_up', 'Gave up after too many attempts'), ('superseded', 'Superseded by a newer event'), ('expired', 'Expired before it could be sent'), ('no_consent', 'No consent of the contact'), ('operator', 'Cancelled by an operator'), ('erased', 'Erased with its contact')], max_length=10, verbose_name='reason')),
                ('response_code', models.PositiveSmallIntegerField(blank=True, null=True, verbose_name='response code')),
                ('attempts', models.PositiveSmallIntegerField(default=0, verbose_name='attempts')),
                ('created_at', models.DateTimeField(db_default=brevo_events.columns.UtcNow(), verbose_name='captured')),
                ('available_at', models.DateTimeField(db_default=brevo_events.columns.UtcNow(), verbose_name='available')),
                ('due_at', models.DateTimeField(blank=True, db_default=brevo_events.columns.UtcNow(), null=True, verbose_name='next attempt')),
                ('expires_at', models.DateTimeField(blank=True, null=True, verbose_name='expires')),
                ('finished_at', models.DateTimeField(blank=True, null=True, verbose_name='finished')),
                ('coalesce_key', models.CharField(blank=True, editable=False, max_length=64, null=True)),
                ('idempotency_key', models.CharField(blank=True, editable=False, max_length=64, null=True, unique=True)),
                ('parked', models.BooleanField(default=False, editable=False)),
                ('lease_token', models.CharField(blank=True, editable=False, max_length=32, null=True)),
            ],
            options={
                'verbose_name': 'event',
                'verbose_name_plural': 'events',
                'permissions': [('resend_outboxevent', 'Can resend events'), ('cancel_outboxevent', 'Can cancel events'), ('erase_contact', 'Can erase contacts'), ('view_contact_data', 'Can view addresses and what was sent')],
                'default_permissions': ('view',),
                'indexes': [models.Index(fields=['due_at', 'id'], name='brevo_events_due'), models.Index(fields=['contact', 'status', 'id'], name='brevo_events_contact'), models.Index(fields=['coalesce_key', 'status', 'id'], name='brevo_events_coalesce'), models.Index(fields=['object_id', 'contact', 'id'], name='brevo_events_object'), brevo_events.indexes.FinishedIndex(fields=['status', 'finished_at'], name='brevo_events_status')],
            },
        ),
        migrations.CreateModel(
            name='SendAttempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('started_at', models.DateTimeField(verbose_name='started')),
                ('duration_ms', models.PositiveIntegerField(verbose_name='duration (ms)')),
                ('response_code', models.PositiveSmallIntegerField(blank=True, null=True, verbose_name='response code')),
                ('error', brevo_events.columns.ExactCharField(blank=True, max_length=100, verbose_name='error')),
                ('answer', brevo_events.columns.ExactTextField(blank=True, verbose_name='answer')),
                ('event', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='send_attempts', to='brevo_events.outboxevent', verbose_name='event')),
            ],
            options={
                'verbose_name': 'attempt',
                'verbose_name_plural': 'attempts',
                'default_permissions': ('view',),
            },
        ),
    ]
