from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count
from django.utils import timezone

from brevo_events.choices import Status
from brevo_events.models import Gate, OutboxEvent, SendAttempt

COUNT_LIMIT = 10_000
LATE = 120  # seconds that an event may be due before somebody should look


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
    waiting = dict(events.due_sometime().unfinished().values_list("status").annotate(Count("pk")).order_by())
    failed = events.filter(status=Status.FAILED).order_by()[:COUNT_LIMIT].count()
    sent = events.filter(status=Status.SENT, finished_at__isnull=False).order_by("-finished_at")
    return Summary(
        pending=waiting.get(Status.PENDING, 0),
        sending=waiting.get(Status.SENDING, 0),
        failed=failed,
        oldest_due_seconds=max(0.0, -(events.unfinished().seconds_until_first_due() or 0.0)),
        last_sent_at=sent.values_list("finished_at", flat=True).first(),
        gate=Gate.load(),
    )


@dataclass(frozen=True, slots=True)
class Pulse:
    """Hold whether events go out at this moment; ``is_delivering`` says whether a request was made of late."""

    gate: Gate
    oldest_due_seconds: float
    is_delivering: bool

    @property
    def is_late(self) -> bool:
        """Return whether an event has been due for so long that somebody should look, unless the gate explains it."""
        return self.oldest_due_seconds > LATE


def take_pulse() -> Pulse:
    """Return whether events go out at this moment, by three rows of the database."""
    events = OutboxEvent.objects.on_primary()
    attempts = SendAttempt._default_manager.using(events.db).order_by("-pk")
    last = attempts.values_list("started_at", flat=True).first()
    return Pulse(
        gate=Gate.load(),
        oldest_due_seconds=max(0.0, -(events.unfinished().seconds_until_first_due() or 0.0)),
        is_delivering=last is not None and timezone.now() - last < timedelta(seconds=LATE),
    )
