"""A made-up month in the outbox, so that the admin has something to show. Only for the fake Brevo."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from brevo_events.models import Interruption, OutboxEvent, SendAttempt
from brevo_events.querysets import OutboxEventQuerySet
from shop.stage.brevo import has_real_key
from shop.stage.sample.delivery import Delivery
from shop.stage.sample.visits import contacts, month

__all__ = ["events", "write"]

SEED = 20  # the same month for everyone
FRESH = timedelta(hours=2)  # later, the last day of the charts would be empty


def events() -> OutboxEventQuerySet:
    """Return the made-up events of the outbox."""
    return OutboxEvent.objects.filter(contact__in=contacts())


def write(now: datetime | None = None) -> int:
    """Write the month up to now, unless there is a recent one; returns the number of its events."""
    if has_real_key():
        raise RuntimeError("No made-up event may exist where a real key could send it.")
    now = now or timezone.now()
    if events().filter(created_at__gt=now - FRESH).exists():
        return 0
    delivery = Delivery(random.Random(SEED), now)
    for captured in month(delivery.chance, delivery.now):
        delivery.add(captured)
    with transaction.atomic():
        Interruption.objects.filter(event__in=events().values("pk")).delete()
        events().delete()
        OutboxEvent.objects.bulk_create(delivery.events)
        SendAttempt.objects.bulk_create(sorted(delivery.attempts, key=lambda attempt: attempt.started_at))
        delivery.hold().save()
    return len(delivery.events)
