"""Code that a shop runs to add events to its history; it first removes those that it added before."""

from __future__ import annotations

# at() returns a time of yesterday, in the shop's time zone.
_MAKE = """
import datetime as dt
from django.utils import timezone
from brevo_events import Event
from brevo_events.answers import Answer
from brevo_events.models import OutboxEvent, SendAttempt, Status
OutboxEvent.objects.filter(object_id__startswith="made:").delete()
day = timezone.localdate() - dt.timedelta(days=1)
def at(hour):
    return timezone.make_aware(dt.datetime(day.year, day.month, day.day, hour))
def make(name, email, status, captured, seconds=1, **more):
    row = OutboxEvent.of(Event(name, email, object_id=f"made:{email}"))
    row.status, row.created_at, row.due_at, row.response_code = status, captured, None, 204
    row.finished_at = captured + dt.timedelta(seconds=seconds)
    for column, value in more.items():
        setattr(row, column, value)
    row.save()
    return row
"""
FAILED = f"""{_MAKE}
for hour in (13, 14, 15, 16):
    make("viewed", f"at-{{hour}}@example.com", Status.FAILED, at(hour), reason="rejected", response_code=400)
"""
# In the sample history, an event that waited behind another one, or was resent, may have taken longer.
SLOW = f"""{_MAKE}
from django.db.models import F
OutboxEvent.objects.filter(name="cart_updated", status=Status.SENT, created_at__gte=at(0)).update(
    finished_at=F("created_at"))
make("cart_updated", "slow@example.com", Status.SENT, at(10), seconds=7500)
make("cart_updated", "quick@example.com", Status.SENT, at(10), seconds=2)
make("order_completed", "slower@example.com", Status.SENT, at(10), seconds=9000)
"""
# Recent failures, all of one group, that can all be resent. Whether the sample history contains such a group depends on
# the hour at which it was written.
MESSAGE = "Colour is unknown"
REFUSED = f"""{_MAKE}
body = '{{"code": "invalid_parameter", "message": "{MESSAGE}"}}'
hour_ago = timezone.now() - dt.timedelta(hours=1)
for name in ("ava", "avi"):
    row = make("viewed", f"{{name}}@colour.example", Status.FAILED, hour_ago, reason="rejected", response_code=400,
        attempts=1, failed_at=hour_ago, failure=Answer(400, body).fingerprint)
    SendAttempt.objects.create(event=row, started_at=hour_ago, duration_ms=90, response_code=400, answer=body)
"""
# An event with twelve identical attempts, and an earlier event of the same contact.
PATIENT = "patient@example.com"
TRIED_OFTEN = f"""{_MAKE}
make("viewed", "{PATIENT}", Status.SENT, at(9))
row = make("viewed", "{PATIENT}", Status.SENT, at(10), seconds=3600)
for number in range(12):
    SendAttempt.objects.create(event=row, started_at=at(10) + dt.timedelta(minutes=number), duration_ms=9,
        response_code=500, error="oops")
"""
