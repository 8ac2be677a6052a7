"""Show beside each page what was captured about the visitor, and what Brevo answered."""

from __future__ import annotations

from django.db.models import Prefetch
from django.http import HttpRequest

from brevo_events.models import OutboxEvent, SendAttempt
from shop import customers

SHOWN = 6  # events


def latest(request: HttpRequest) -> list[OutboxEvent]:
    """Return the visitor's latest events, each with its attempts in ``answers``, oldest attempt first."""
    customer = customers.current(request)
    if customer is None:
        return []
    attempts = Prefetch("send_attempts", SendAttempt.objects.order_by("pk"), to_attr="answers")
    return list(OutboxEvent.objects.of_contact(customer.email).order_by("-pk").prefetch_related(attempts)[:SHOWN])
