"""A contact's line: whose turn it is, what waits behind, and how it is released."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from brevo_events import states
from brevo_events.choices import UNFINISHED, Reason
from brevo_events.delivery import statements
from brevo_events.models import OutboxEvent


class Due(NamedTuple):
    """A due event as the window shows it: the first columns of ``statements.WINDOW``, in their order."""

    pk: int
    due_at: Any  # as the database gave it, to be given back as it is
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
        """The event of its contact whose turn it is."""
        first = min(pk for pk in (self.pk, self.first_pending, self.sending) if pk is not None)
        # A later event may be in flight when a delay ends: two of one contact at once could overtake each other.
        return self.sending if first == self.pk and self.sending is not None else first

    @property
    def newest(self) -> int:
        """The newest event of its key that may stand in for it, itself included."""
        return newest_of(self.pk, self.newest_pending, self.newest_sending, self.newest_sent, self.first_between)

    @property
    def identifies(self) -> bool:
        """Whether it is a call of ``identify``."""
        return self.coalesce_key == self.contact

    @property
    def is_finished(self) -> bool:
        """Whether a user has ended it, and only the next in line has still to be released."""
        return self.status not in UNFINISHED

    @property
    def is_superseded(self) -> bool:
        """Whether a newer event replaces it."""
        return self.newest > self.pk or self.reason == Reason.SUPERSEDED

    @property
    def can_go(self) -> bool:
        """Whether it is its contact's turn, and the event is still wanted."""
        return not (self.is_finished or self.is_expired or self.is_superseded) and self.head == self.pk


def newest_of(pk: int, pending: int | None, sending: int | None, sent: int | None, between: int | None) -> int:
    """
    Return the newest event of a key that may stand in for this one, itself included.

    A pending call of ``identify`` may not if another event of the contact waits
    ``between`` the two, which would then arrive before either.
    """
    is_near = between is None or pending is None or pending < between
    return max(pk, pending if pending and is_near else 0, sending or 0, sent or 0)


def park(blocked: Mapping[int, int]) -> None:
    """
    Move blocked events out of the way; ``blocked`` maps each to the one ahead of it. Needs a transaction.

    The ones ahead stay locked meanwhile: otherwise one could end before its
    follower is parked, and release nothing. If one is locked elsewhere, or is a
    later event, which may itself come to wait, its followers are looked at
    again in a moment.
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
    Release the next in line of contacts whose events have ended, then mark those as done. Needs a transaction.

    ``ended`` maps events to contacts. Returns which are done; one whose
    follower is locked elsewhere stays due, for another look.
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
    elsewhere, which are due again in a moment, and whether any was released.
    """
    if not ended:
        return set(), False
    # One look for each contact: many may have ended at once, and each look may read all that waits of it.
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
