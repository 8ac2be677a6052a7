
import brevo_events.clock
import brevo_events.fields
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
                ('closed_by', models.BigIntegerField(blank=True, null=True, verbose_name='closed by event')),
                ('closed_at', models.DateTimeField(blank=True, null=True, verbose_name='closed since')),
                ('closed_until', models.DateTimeField(blank=True, null=True, verbose_name='closed until')),
                ('cooldown', models.PositiveIntegerField(default=0, verbose_name='cool-down (seconds)')),
                ('paused_at', models.DateTimeField(blank=True, null=True, verbose_name='paused since')),
                ('paused_until', models.DateTimeField(blank=True, null=True, verbose_name='paused until')),
                ('paused_by', brevo_events.fields.ExactCharField(blank=True, max_length=150, verbose_name='paused by')),
                ('pause_reason', brevo_events.fields.ExactCharField(blank=True, max_length=200, verbose_name='reason of the pause')),
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
            name='Heartbeat',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('host', brevo_events.fields.ExactCharField(max_length=100, verbose_name='host')),
                ('pid', models.PositiveBigIntegerField(verbose_name='process')),
                ('engine', models.CharField(max_length=20, verbose_name='engine')),
                ('version', models.CharField(blank=True, max_length=30, verbose_name='version')),
                ('started_at', models.DateTimeField(db_default=brevo_events.clock.UtcNow(), verbose_name='started')),
                ('seen_at', models.DateTimeField(db_default=brevo_events.clock.UtcNow(), verbose_name='last seen')),
                ('in_flight', models.PositiveIntegerField(default=0, verbose_name='in flight')),
            ],
            options={
                'verbose_name': 'delivering process',
                'verbose_name_plural': 'delivering processes',
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
            name='Interruption',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('hold', 'On hold'), ('pause', 'Paused')], max_length=10, verbose_name='kind')),
                ('reason', brevo_events.fields.ExactCharField(blank=True, max_length=200, verbose_name='reason')),
                ('response_code', models.PositiveSmallIntegerField(blank=True, null=True, verbose_name='response code')),
                ('event', models.BigIntegerField(blank=True, null=True, verbose_name='caused by event')),
                ('began_by', brevo_events.fields.ExactCharField(blank=True, max_length=150, verbose_name='begun by')),
                ('began_at', models.DateTimeField(db_default=brevo_events.clock.UtcNow(), verbose_name='began')),
                ('ended_at', models.DateTimeField(blank=True, null=True, verbose_name='ended')),
                ('end', models.CharField(blank=True, choices=[('answer', 'Brevo answered again'), ('operator', 'Resumed'), ('time', 'Ended by itself')], max_length=10, verbose_name='end')),
                ('ended_by', brevo_events.fields.ExactCharField(blank=True, max_length=150, verbose_name='ended by')),
                ('ended_event', models.BigIntegerField(blank=True, null=True, verbose_name='ended by event')),
                ('unfinished', models.PositiveIntegerField(editable=False, null=True)),
                ('sent', models.PositiveIntegerField(editable=False, null=True)),
                ('superseded', models.PositiveIntegerField(editable=False, null=True)),
                ('cancelled', models.PositiveIntegerField(editable=False, null=True)),
                ('failed', models.PositiveIntegerField(editable=False, null=True)),
                ('left', models.PositiveIntegerField(editable=False, null=True)),
                ('lost', models.PositiveIntegerField(editable=False, null=True)),
                ('is_settled', models.BooleanField(default=False, editable=False)),
            ],
            options={
                'verbose_name': 'interruption of delivery',
                'verbose_name_plural': 'interruptions of delivery',
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='OutboxEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', brevo_events.fields.ExactCharField(max_length=255, verbose_name='event')),
                ('email', brevo_events.fields.ExactCharField(max_length=254, verbose_name='contact')),
                ('contact', models.CharField(editable=False, max_length=64)),
                ('object_id', brevo_events.fields.ExactCharField(blank=True, max_length=255, null=True, verbose_name='object')),
                ('reference', brevo_events.fields.ExactCharField(blank=True, max_length=100, null=True, verbose_name='reference')),
                ('body', brevo_events.fields.ExactTextField(verbose_name='body')),
                ('source', brevo_events.fields.ExactCharField(blank=True, editable=False, max_length=150)),
                ('call', models.CharField(choices=[('trackEvent', 'trackEvent'), ('identify', 'identify')], default='trackEvent', editable=False, max_length=10)),
                ('status', models.CharField(choices=[('pending', 'Pending'), ('sending', 'Sending'), ('sent', 'Sent'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='pending', max_length=10, verbose_name='status')),
                ('reason', models.CharField(blank=True, choices=[('rejected', 'Rejected by Brevo'), ('gave_up', 'Gave up after too many attempts'), ('superseded', 'Superseded by a newer event'), ('expired', 'Expired before it could be sent'), ('no_consent', 'No consent from the contact'), ('operator', 'Cancelled by an operator'), ('app', 'Cancelled by the application'), ('erased', 'Erased with its contact')], max_length=10, verbose_name='reason')),
                ('response_code', models.PositiveSmallIntegerField(blank=True, null=True, verbose_name='response code')),
                ('attempts', models.PositiveSmallIntegerField(default=0, verbose_name='attempts')),
                ('created_at', models.DateTimeField(db_default=brevo_events.clock.UtcNow(), verbose_name='captured')),
                ('available_at', models.DateTimeField(db_default=brevo_events.clock.UtcNow(), verbose_name='available')),
                ('due_at', models.DateTimeField(blank=True, db_default=brevo_events.clock.UtcNow(), null=True, verbose_name='next attempt')),
                ('expires_at', models.DateTimeField(blank=True, null=True, verbose_name='expires')),
                ('finished_at', models.DateTimeField(blank=True, null=True, verbose_name='finished')),
                ('coalesce_key', models.CharField(blank=True, editable=False, max_length=64, null=True)),
                ('idempotency_key', models.CharField(blank=True, editable=False, max_length=64, null=True, unique=True)),
                ('parked', models.BooleanField(default=False, editable=False)),
                ('lease_token', models.CharField(blank=True, editable=False, max_length=32, null=True)),
                ('failure', models.CharField(blank=True, editable=False, max_length=16, null=True, verbose_name='failure')),
                ('failed_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='failed')),
            ],
            options={
                'verbose_name': 'event',
                'verbose_name_plural': 'events',
                'permissions': [('resend_outboxevent', 'Can resend events'), ('cancel_outboxevent', 'Can cancel events'), ('erase_contact', 'Can erase contacts'), ('view_contact_data', 'Can view addresses and what was sent'), ('export_outboxevent', 'Can export events')],
                'default_permissions': ('view',),
                'indexes': [models.Index(fields=['due_at', 'id'], name='brevo_events_due'), models.Index(fields=['contact', 'status', 'id'], name='brevo_events_contact'), models.Index(fields=['coalesce_key', 'status', 'id'], name='brevo_events_coalesce'), models.Index(fields=['object_id', 'contact', 'id'], name='brevo_events_object'), brevo_events.fields.FinishedIndex(fields=['status', 'finished_at', 'id', 'reason', 'response_code', 'name'], name='brevo_events_status'), models.Index(fields=['created_at', 'id'], name='brevo_events_captured'), brevo_events.fields.SparseIndex(fields=['reference', 'id'], name='brevo_events_reference'), brevo_events.fields.SparseIndex(fields=['failure', 'failed_at', 'id', 'contact'], name='brevo_events_failure')],
            },
        ),
        migrations.CreateModel(
            name='SendAttempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('started_at', models.DateTimeField(verbose_name='started')),
                ('duration_ms', models.PositiveIntegerField(verbose_name='duration (ms)')),
                ('response_code', models.PositiveSmallIntegerField(blank=True, null=True, verbose_name='response code')),
                ('error', brevo_events.fields.ExactCharField(blank=True, max_length=100, verbose_name='error')),
                ('answer', brevo_events.fields.ExactTextField(blank=True, verbose_name='answer')),
                ('event', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='send_attempts', to='brevo_events.outboxevent', verbose_name='event')),
            ],
            options={
                'verbose_name': 'attempt',
                'verbose_name_plural': 'attempts',
                'default_permissions': ('view',),
            },
        ),
    ]
