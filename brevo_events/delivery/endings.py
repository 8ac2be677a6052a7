from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, OuterRef, Q, QuerySet, Subquery, Value, When

from brevo_events import signals
from brevo_events.choices import UNFINISHED, Reason, Status
from brevo_events.columns import UtcNow, in_seconds
from brevo_events.models import OutboxEvent, outbox

LOOK_AGAIN = 1  # seconds, where somebody else has locked what is needed
AT_ONCE = 500  # older events that are superseded in one transaction; the others are as they fall due

IS_DUE = Case(When(Q(due_at__lte=UtcNow()), then=Value(1)), default=Value(0))
IS_EXPIRED = Case(When(Q(expires_at__lte=UtcNow()), then=Value(1)), default=Value(0))


@dataclass(frozen=True, slots=True)
class Due:
    """Hold what a worker sees of an event that is due; ``head`` is the event of its contact whose turn it is."""

    pk: int
    due_at: datetime
    status: str
    reason: str
    coalesce_key: str | None
    is_expired: bool
    head: int

    @property
    def is_finished(self) -> bool:
        """Return whether it has ended, and only what waits behind it has still to be freed."""
        return self.status not in UNFINISHED

    @property
    def is_superseded(self) -> bool:
        """Return whether it was superseded while a worker that has died was sending it."""
        return not self.is_finished and self.reason == Reason.SUPERSEDED


def end_stale(window: list[Due]) -> tuple[bool, list[int]]:
    """
    End what must not go out any more of events that are due, and locked; inside a transaction.

    That is what has expired, and what a newer event stands in for. What a user
    has ended is settled. Returns whether anything changed, so that the window
    is no longer right, and the cancelled events that are to be announced.
    """
    finished = [row.pk for row in window if row.is_finished]
    expired = [row.pk for row in window if row.is_expired and not row.is_finished]
    left = [row for row in window if not (row.is_expired or row.is_finished)]
    waiting = [row for row in left if not row.is_superseded]
    superseded, is_postponed = _coalesce({row.pk: row.coalesce_key for row in waiting if row.coalesce_key})
    superseded += [row.pk for row in left if row.is_superseded]
    for pks, reason in ((expired, Reason.EXPIRED), (superseded, Reason.SUPERSEDED)):
        if pks:
            outbox().filter(pk__in=pks).update(
                status=Status.CANCELLED, reason=reason, parked=False, lease_token=None, finished_at=UtcNow()
            )
    settled = settle([*finished, *expired, *superseded])
    told = {row.pk for row in window if row.is_finished and row.status != Status.CANCELLED}
    return is_postponed or bool(finished or expired or superseded), [pk for pk in settled if pk not in told]


def settle(ended: list[int]) -> list[int]:
    """
    Free what waits behind events that have ended, and take those off the workers' list; inside a transaction.

    Returns which are done with. One whose follower somebody else has locked
    stays on the list, for the next look.
    """
    if not ended:
        return []
    unfreed = free_followers(ended)
    done = [pk for pk in ended if pk not in unfreed]
    outbox().filter(pk__in=done).update(due_at=None)
    return done


def free_followers(ended: Iterable[int]) -> set[int]:
    """
    Make the next event of each contact due, where it waited behind one that has ended; inside a transaction.

    Returns those of the ended ones whose follower somebody else has locked:
    they are due in a moment, for a worker to look again.
    """
    # One look for each contact: many may have ended at once, and each look may read all that waits of it.
    contacts = {contact: pk for pk, contact in outbox().filter(pk__in=list(ended)).values_list("pk", "contact")}
    parked = outbox().filter(contact=OuterRef("contact"), status=Status.PENDING, parked=True).order_by("pk")
    behind = outbox().filter(pk__in=contacts.values()).annotate(follower=Subquery(parked.values("pk")[:1]))
    followers = {pk: follower for pk, follower in behind.values_list("pk", "follower") if follower is not None}
    if not followers:
        return set()
    held = outbox().lock_by_key(followers.values())
    outbox().filter(pk__in=held, parked=True).update(parked=False, due_at=UtcNow())
    unfreed = {pk for pk, follower in followers.items() if follower not in held}
    if unfreed:
        outbox().filter(pk__in=unfreed).update(due_at=in_seconds(LOOK_AGAIN))
    return unfreed


def stale(pks: Iterable[int]) -> dict[int, Reason]:
    """Return which events must not be put back, and why: a newer one superseded them, or they have expired."""
    found: dict[int, Reason] = {}
    pks = list(pks)
    if not pks:
        return found
    columns = ("pk", "reason", "is_expired", *_NEWEST)
    for pk, reason, is_expired, *newest in _with_newest(pks).annotate(is_expired=IS_EXPIRED).values_list(*columns):
        if reason == Reason.SUPERSEDED or _highest(newest) > pk:
            found[pk] = Reason.SUPERSEDED
        elif is_expired:
            found[pk] = Reason.EXPIRED
    return found


def announce_cancelled(pks: list[int]) -> None:
    """Tell observers of events that have been cancelled, after the commit."""
    if pks and signals.event_cancelled.has_listeners(OutboxEvent):
        for event in outbox().in_bulk(pks).values():
            signals.event_cancelled.send_robust(OutboxEvent, event=event)


_NEWEST = ("newest_pending", "newest_sending", "newest_sent")


def _coalesce(keys: dict[int, str]) -> tuple[list[int], bool]:
    """
    Return which events a newer one of their key stands in for, and whether some must be looked at later.

    ``keys`` are those of the events that are due. The newest of a key that
    still waits becomes due in their stead; one that is being sent is never
    touched. One that was committed late, after a newer one had been sent, does
    not go out any more.
    """
    if not keys:
        return [], False
    tops, heirs = {}, {}
    for pk, *newest in _with_newest(keys).values_list("pk", *_NEWEST):
        tops[pk] = max(pk, _highest(newest))
        if tops[pk] > pk and tops[pk] == newest[0]:
            heirs[pk] = tops[pk]
    found = outbox().lock_by_key(heirs.values())
    held = {pk for pk, heir in found.items() if heir.status == Status.PENDING}
    later = [pk for pk, heir in heirs.items() if heir not in held]
    _make_due(held)
    outbox().filter(pk__in=later).update(due_at=in_seconds(LOOK_AGAIN))
    newest_of: dict[str | None, int] = {keys[pk]: top for pk, top in tops.items() if pk not in later}
    of_keys = outbox().filter(coalesce_key__in=list(newest_of), status=Status.PENDING).order_by("pk")
    older = outbox().lock_by_key(of_keys.values_list("pk", flat=True)[:AT_ONCE])
    waiting = {pk: event.coalesce_key for pk, event in older.items() if event.status == Status.PENDING}
    return [pk for pk, key in (waiting | keys).items() if pk < newest_of.get(key, 0)], bool(later)


def _make_due(heirs: set[int]) -> None:
    if heirs:
        outbox().filter(pk__in=heirs, available_at__gt=UtcNow()).update(available_at=UtcNow())
        outbox().filter(pk__in=heirs).update(parked=False, due_at=UtcNow())


def _with_newest(pks: Iterable[int]) -> QuerySet[OutboxEvent, Any]:
    def newest(status: Status) -> Subquery:
        of_key = outbox().filter(coalesce_key=OuterRef("coalesce_key"), status=status).order_by("-pk")
        return Subquery(of_key.values("pk")[:1])

    statuses = (Status.PENDING, Status.SENDING, Status.SENT)
    return outbox().filter(pk__in=list(pks)).annotate(**dict(zip(_NEWEST, map(newest, statuses), strict=True)))


def _highest(pks: Iterable[int | None]) -> int:
    return max(pk or 0 for pk in pks)
