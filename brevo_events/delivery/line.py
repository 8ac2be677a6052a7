"""A contact's line: which event is next, which ones wait behind it, and how they are released."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from brevo_events import states
from brevo_events.choices import UNFINISHED, Reason
from brevo_events.delivery import statements
from brevo_events.models import OutboxEvent


class Due(NamedTuple):
    """A due event as read in a window: the first columns of ``statements.WINDOW``, in that order."""

    pk: int
    due_at: Any  # as the database returned it, to be written back unchanged
    status: str
    reason: str
    coalesce_key: str | None
    is_expired: bool
    first_pending: int | None
    sending: int | None
    newest_pending: int | None
    newest_sending: int | None
    newest_sent: int | None
    first_between: int | None
    seconds_left: float | None
    contact: str

    @property
    def head(self) -> int:
        """The event of this contact that is next."""
        first = min(pk for pk in (self.pk, self.first_pending, self.sending) if pk is not None)
        # A later event may be in flight when a delay ends. Two of one contact in flight could overtake each other.
        return self.sending if first == self.pk and self.sending is not None else first

    @property
    def newest(self) -> int:
        """The newest event of its key that may be sent in its place, perhaps itself."""
        return newest_of(self.pk, self.newest_pending, self.newest_sending, self.newest_sent, self.first_between)

    @property
    def identifies(self) -> bool:
        """Whether it is an ``identify`` call."""
        return self.coalesce_key == self.contact

    @property
    def is_finished(self) -> bool:
        """Whether a user has ended it, and all that is left to do is to release the next in line."""
        return self.status not in UNFINISHED

    @property
    def is_superseded(self) -> bool:
        """Whether a newer event replaces it."""
        return self.newest > self.pk or self.reason == Reason.SUPERSEDED

    @property
    def can_go(self) -> bool:
        """Whether it is next in its contact's line, and is still to be sent."""
        return not (self.is_finished or self.is_expired or self.is_superseded) and self.head == self.pk


def newest_of(pk: int, pending: int | None, sending: int | None, sent: int | None, between: int | None) -> int:
    """
    Return the newest event of a key that may be sent in place of this one, perhaps itself.

    A pending ``identify`` call may not be if another event of the contact is
    waiting ``between`` the two, because that event would then arrive before
    either.
    """
    is_near = between is None or pending is None or pending < between
    return max(pk, pending if pending and is_near else 0, sending or 0, sent or 0)


def park(blocked: Mapping[int, int]) -> None:
    """
    Park blocked events; ``blocked`` maps each to the one ahead of it. Needs a transaction.

    The ones ahead stay locked meanwhile: otherwise one could end before its
    follower is parked, and release nothing. If one is locked elsewhere, its
    followers become due again in a moment. The same goes if it is a later
    event, because that may itself have to wait.
    """
    if not blocked:
        return
    held = {
        pk for pk, head in OutboxEvent.objects.lock_by_key(set(blocked.values())).items() if head.status in UNFINISHED
    }
    parked = [pk for pk, head in blocked.items() if head in held and head < pk]
    others = blocked.keys() - parked
    if parked:
        OutboxEvent.objects.filter(pk__in=parked).update(**states.parked())
    if others:
        OutboxEvent.objects.filter(pk__in=others).update(**states.postponed())


def settle(ended: Mapping[int, str]) -> list[int]:
    """
    Release the next event of contacts whose events have ended, then mark the ended ones as done. Needs a transaction.

    ``ended`` maps events to contacts. Returns which are done; if the follower
    of one is locked elsewhere, that one stays due and is looked at again.
    """
    locked_out, _ = release(ended)
    done = [pk for pk in ended if pk not in locked_out]
    if done:
        OutboxEvent.objects.filter(pk__in=done).update(**states.settled())
    return done


def release(ended: Mapping[int, str]) -> tuple[set[int], bool]:
    """
    Make the next event of each contact due if it was parked behind one that has ended. Needs a transaction.

    ``ended`` maps events to contacts. Returns those whose follower is locked
    elsewhere, which become due again in a moment, and whether any was released.
    """
    if not ended:
        return set(), False
    # Only one lookup per contact: many of its events may have ended at once, and each lookup may read all its waiting
    # events.
    using, last = OutboxEvent.objects.db, {contact: pk for pk, contact in ended.items()}
    found = statements.rows(using, statements.of(using).next_in_line, [statements.keys(using, last.values())])
    followers = {pk: follower for pk, follower in found if follower is not None}
    if not followers:
        return set(), False
    held = set(OutboxEvent.objects.lock_by_key(followers.values()))
    if held:
        OutboxEvent.objects.filter(pk__in=held, parked=True).update(**states.released())
    locked_out = {pk for pk, follower in followers.items() if follower not in held}
    if locked_out:
        OutboxEvent.objects.filter(pk__in=locked_out).update(**states.postponed())
    return locked_out, bool(held)
