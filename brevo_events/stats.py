from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count

from brevo_events.choices import UNFINISHED, Status
from brevo_events.models import Gate, OutboxEvent

COUNT_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Summary:
    """
    Hold how delivery fares.

    ``failed`` counts up to 10,000. ``oldest_due_seconds`` is how long the
    oldest event has been due, 0 where none is; an event that waits for a retry
    or behind another of its contact is not due.
    """

    pending: int
    sending: int
    failed: int
    oldest_due_seconds: float
    last_sent_at: datetime | None
    gate: Gate


def summarise() -> Summary:
    """Return how delivery fares, by a few indexed queries."""
    events = OutboxEvent.objects.on_primary()
    waiting = dict(
        events.filter(due_at__isnull=False, status__in=UNFINISHED)
        .values_list("status")
        .annotate(Count("pk"))
        .order_by()
    )
    failed = events.filter(status=Status.FAILED).order_by()[:COUNT_LIMIT].count()
    sent = events.filter(status=Status.SENT, finished_at__isnull=False).order_by("-finished_at")
    return Summary(
        pending=waiting.get(Status.PENDING, 0),
        sending=waiting.get(Status.SENDING, 0),
        failed=failed,
        oldest_due_seconds=max(-(events.seconds_until_first_due() or 0.0), 0.0),
        last_sent_at=sent.values_list("finished_at", flat=True).first(),
        gate=Gate.load(),
    )
