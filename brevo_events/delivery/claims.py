from __future__ import annotations

import math
import uuid
from datetime import timedelta

from django.db import transaction
from django.db.models import OuterRef, Subquery

from brevo_events.choices import Status
from brevo_events.columns import UtcNow, in_seconds
from brevo_events.conf import settings
from brevo_events.delivery.attempts import GRACE
from brevo_events.delivery.endings import IS_DUE, IS_EXPIRED, LOOK_AGAIN, Due, announce_cancelled, end_stale
from brevo_events.models import OutboxEvent, outbox

PARKED_FOR = 300  # seconds, at most: whoever ends the event ahead frees the next one at once
SMALLEST_WINDOW = 200  # events: a long line of one contact must be parked in few rounds, for a probe too
ROUNDS = 50  # then the worker looks at its other duties first


def lease_seconds() -> float:
    """Return for how long a claimed event belongs to its worker: long enough to wait its turn and be sent."""
    return 3 * (settings.attempt_deadline + GRACE)


def claim(limit: int) -> list[OutboxEvent]:
    """
    Lease up to ``limit`` due events to the caller, oldest first, at most one of each contact.

    What must not go out any more ends here. The rows are locked only while
    they are marked, never during the HTTP call, and no lock is waited for. A
    worker that dies simply lets its lease run out.
    """
    for _round in range(ROUNDS if limit > 0 else 0):
        leased: list[OutboxEvent] = []
        blocked: dict[int, int] = {}
        size = max(2 * limit, SMALLEST_WINDOW)  # since some of them are blocked
        keys = outbox().keys_of_due(size)
        with transaction.atomic(using=outbox().db, durable=True):
            outbox().begin_writing()
            window = _lock_window(size, keys)
            is_changed, ended = end_stale(window)
            if not is_changed:
                leased = _lease([row for row in window if row.pk == row.head][:limit])
                blocked = {row.pk: row.head for row in window if row.pk != row.head}
                _park(blocked)
        announce_cancelled(ended)
        is_missed = bool(keys) and not window  # another worker was quicker
        if leased or not (blocked or is_changed or is_missed):
            return leased
    return []


def seconds_left(event: OutboxEvent) -> float:
    """Return for how long an event that was just claimed may still go out."""
    if event.expires_at is None:
        return math.inf
    left: timedelta = event.expires_at - event.claimed_at  # type: ignore[attr-defined]
    return left.total_seconds()


def seconds_until_due() -> float | None:
    """Return how long a worker may sleep before something is due, None where nothing waits at all."""
    seconds = outbox().seconds_until_first_due()
    return None if seconds is None else max(seconds, 0.0)


def _lock_window(size: int, keys: list[int] | None) -> list[Due]:
    """Lock what has been due for longest, among these keys where they are given."""

    def first(status: Status) -> Subquery:
        # One probe of the index for each status: MariaDB would read the whole contact for both at once.
        in_line = outbox().filter(contact=OuterRef("contact"), status=status, available_at__lte=UtcNow()).order_by("pk")
        return Subquery(in_line.values("pk")[:1])

    window = outbox().annotate(pending=first(Status.PENDING), sending=first(Status.SENDING))
    window = window.annotate(is_expired=IS_EXPIRED, is_due=IS_DUE)
    window = window.due().order_by("due_at", "pk")[:size] if keys is None else window.filter(pk__in=keys)
    columns = ("due_at", "pk", "status", "reason", "coalesce_key", "is_expired", "pending", "sending", "is_due")
    found = window.lock_free().values_list(*columns)
    # What is locked by key may have been claimed meanwhile, and comes in the order of the keys.
    return [
        Due(pk, due_at, status, reason, key, bool(is_expired), _head(pk, pending, sending))
        for due_at, pk, status, reason, key, is_expired, pending, sending, _ in sorted(row for row in found if row[-1])
    ]


def _head(pk: int, pending: int | None, sending: int | None) -> int:
    first = min(other for other in (pk, pending, sending) if other is not None)
    # A later event may be on its way when a delay ends: two of one contact at once could overtake each other.
    return sending if first == pk and sending is not None else first


def _lease(rows: list[Due]) -> list[OutboxEvent]:
    if not rows:
        return []
    were_due = {row.pk: row.due_at for row in rows}
    outbox().filter(pk__in=were_due).update(
        status=Status.SENDING, lease_token=uuid.uuid4().hex, parked=False, due_at=in_seconds(lease_seconds())
    )
    leased = outbox().annotate(claimed_at=UtcNow()).in_bulk(were_due)
    for pk, event in leased.items():
        event.was_due_at = were_due[pk]  # type: ignore[attr-defined]
    return [leased[pk] for pk in were_due]


def _park(blocked: dict[int, int]) -> None:
    """
    Move blocked events out of the way, while the ones that block them are held.

    Without that hold, the one ahead could end between the look and the parking,
    and find nobody to free. Where somebody else holds it, look again soon; so
    too where the one ahead is a later event, which may itself come to wait.
    """
    if not blocked:
        return
    held = {pk for pk, head in outbox().lock_by_key(blocked.values()).items() if not head.is_finished}
    parked = [pk for pk, head in blocked.items() if head in held and head < pk]
    others = [pk for pk, head in blocked.items() if head not in held or head > pk]
    waiting = {"parked": True, "status": Status.PENDING, "lease_token": None}
    outbox().filter(pk__in=parked).update(**waiting, due_at=in_seconds(PARKED_FOR))
    outbox().filter(pk__in=others).update(due_at=in_seconds(LOOK_AGAIN))
