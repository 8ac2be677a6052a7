from __future__ import annotations

import uuid
from collections.abc import Iterable

from django.db import connections, router, transaction
from django.db.models import OuterRef, Subquery

from brevo_events.choices import UNFINISHED, Status
from brevo_events.columns import UtcNow, in_seconds
from brevo_events.conf import settings
from brevo_events.delivery.attempts import GRACE
from brevo_events.models import Gate, OutboxEvent
from brevo_events.querysets import OutboxEventQuerySet

PARKED_FOR = 300  # seconds, at most: whoever ends the event ahead frees the next one at once
LOOK_AGAIN = 1  # seconds
SMALLEST_WINDOW = 200  # events: a long line of one contact must be parked in few rounds, for a probe too
ROUNDS = 50  # then the worker looks at its other duties first


def lease_seconds() -> float:
    """Return for how long a claimed event belongs to its worker: long enough to wait its turn and be sent."""
    return 3 * (settings.attempt_deadline + GRACE)


def claim(limit: int) -> list[OutboxEvent]:
    """
    Lease up to ``limit`` due events to the caller, oldest first, at most one of each contact.

    The rows are locked only while they are marked, never during the HTTP call,
    and no lock is waited for. A worker that dies simply lets its lease run out.
    """
    for _round in range(ROUNDS if limit > 0 else 0):
        with transaction.atomic(using=outbox().db, durable=True):
            begin_writing()
            heads = _lock_window(limit)
            leased = _lease([pk for pk, head in heads.items() if pk == head][:limit])
            blocked = {pk: head for pk, head in heads.items() if pk != head}
            _park(blocked)
        if leased or not blocked:
            return leased
    return []


def seconds_until_due() -> float | None:
    """Return how long a worker may sleep before something is due, None where nothing waits at all."""
    seconds = outbox().seconds_until_first_due()
    return None if seconds is None else max(seconds, 0.0)


def free_followers(finished: Iterable[int]) -> set[int]:
    """
    Make the next event of each contact due, where it waited behind one that has ended; inside a transaction.

    Returns those of the ended ones whose follower somebody else has locked: it
    must be freed later.
    """
    parked = outbox().filter(contact=OuterRef("contact"), status=Status.PENDING, parked=True).order_by("pk")
    ended = outbox().filter(pk__in=list(finished)).annotate(follower=Subquery(parked.values("pk")[:1]))
    followers = {pk: follower for pk, follower in ended.values_list("pk", "follower") if follower is not None}
    if not followers:
        return set()
    held = set(lock(outbox().filter(pk__in=set(followers.values()))).values_list("pk", flat=True))
    outbox().filter(pk__in=held, parked=True).update(parked=False, due_at=UtcNow())
    return {pk for pk, follower in followers.items() if follower not in held}


def outbox() -> OutboxEventQuerySet:
    """Return all events, on the database that they are written to."""
    return OutboxEvent.objects.using(router.db_for_write(OutboxEvent))


def lock(events: OutboxEventQuerySet) -> OutboxEventQuerySet:
    """Lock what nobody else holds, without waiting; SQLite has no such locks and needs none."""
    features = connections[events.db].features
    if not features.has_select_for_update:
        return events
    return events.select_for_update(skip_locked=features.has_select_for_update_skip_locked)


def begin_writing() -> None:
    """Begin a transaction with a write, where that is what locks."""
    # SQLite gives up at once when a transaction that has read wants to write: so it writes first.
    if not connections[outbox().db].features.has_select_for_update:
        Gate._default_manager.using(outbox().db).filter(pk=0).update(generation=0)


def _lock_window(limit: int) -> dict[int, int]:
    """
    Lock twice as many due events as are wanted, since some of them are blocked.

    Returns for each, oldest first, the first unfinished event of its contact:
    itself, or the one that blocks it.
    """

    def first(status: Status) -> Subquery:
        # One probe of the index for each status: MariaDB would read the whole contact for both at once.
        in_line = outbox().filter(contact=OuterRef("contact"), status=status, available_at__lte=UtcNow()).order_by("pk")
        return Subquery(in_line.values("pk")[:1])

    due = outbox().due().filter(status__in=UNFINISHED).order_by("due_at", "pk")
    window = due.annotate(pending=first(Status.PENDING), sending=first(Status.SENDING))
    columns = ("pk", "pending", "sending")
    return {
        pk: min(head for head in (pk, pending, sending) if head is not None)
        for pk, pending, sending in lock(window).values_list(*columns)[: max(2 * limit, SMALLEST_WINDOW)]
    }


def _lease(pks: list[int]) -> list[OutboxEvent]:
    if not pks:
        return []
    outbox().filter(pk__in=pks).update(
        status=Status.SENDING, lease_token=uuid.uuid4().hex, parked=False, due_at=in_seconds(lease_seconds())
    )
    leased = outbox().in_bulk(pks)
    return [leased[pk] for pk in pks]


def _park(blocked: dict[int, int]) -> None:
    """
    Move blocked events out of the way, while the ones that block them are held.

    Without that hold, the one ahead could end between the look and the parking,
    and find nobody to free. Where somebody else holds it, look again soon.
    """
    if not blocked:
        return
    heads = lock(outbox().filter(pk__in=set(blocked.values())))
    held = {pk for pk, status in heads.values_list("pk", "status") if status in UNFINISHED}
    parked = [pk for pk, head in blocked.items() if head in held]
    others = [pk for pk, head in blocked.items() if head not in held]
    waiting = {"parked": True, "status": Status.PENDING, "lease_token": None}
    outbox().filter(pk__in=parked).update(**waiting, due_at=in_seconds(PARKED_FOR))
    outbox().filter(pk__in=others).update(due_at=in_seconds(LOOK_AGAIN))
