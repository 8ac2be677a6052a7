"""Events that must not be sent any more: expired, or replaced by a newer event."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from brevo_events import signals, states
from brevo_events.choices import Reason, Status
from brevo_events.delivery import statements
from brevo_events.delivery.line import Due, newest_of, settle
from brevo_events.models import OutboxEvent

AT_ONCE = 500  # older events that are superseded in one transaction; the others follow when they are due

Notify = Callable[[Callable[[], object]], object]


@dataclass(frozen=True, slots=True)
class Ended:
    """The contacts whose events have ended or wait for a lock, and the cancelled events to announce."""

    contacts: set[str]
    cancelled: list[int]


def end_obsolete(rows: list[Due]) -> Ended:
    """
    Cancel locked due events that must not be sent: expired, or replaced by a newer one. Needs a transaction.

    Older pending events with the same coalesce key are ended too. Events that a
    user has ended are settled.
    """
    finished = [row for row in rows if row.is_finished]
    expired = [row for row in rows if row.is_expired and not row.is_finished]
    left = [row for row in rows if not (row.is_expired or row.is_finished)]
    superseded = [row for row in left if row.reason == Reason.SUPERSEDED]
    replaced, busy = _replaced([row for row in left if row.coalesce_key and row.reason != Reason.SUPERSEDED])
    replaced |= {row.pk: row.contact for row in superseded}
    for pks, reason in (([row.pk for row in expired], Reason.EXPIRED), (list(replaced), Reason.SUPERSEDED)):
        if pks:
            OutboxEvent.objects.filter(pk__in=pks).update(**states.obsolete(reason))
    ended = {row.pk: row.contact for row in finished + expired} | replaced
    told = {row.pk for row in finished if row.status != Status.CANCELLED}
    return Ended({*ended.values(), *busy}, [pk for pk in settle(ended) if pk not in told])


def reasons_to_end(pks: Iterable[int]) -> dict[int, Reason]:
    """Return which locked events must not be put back, and why: replaced by a newer one, or expired."""
    using = OutboxEvent.objects.db
    found: dict[int, Reason] = {}
    for pk, reason, is_expired, *newest in statements.rows(
        using, statements.of(using).obsolete, [statements.keys(using, pks)]
    ):
        if reason == Reason.SUPERSEDED or newest_of(pk, *newest) > pk:
            found[pk] = Reason.SUPERSEDED
        elif is_expired:
            found[pk] = Reason.EXPIRED
    return found


def announce_cancelled(pks: list[int], notify: Notify) -> None:
    """Notify observers of cancelled events, after the commit."""
    if pks and signals.event_cancelled.has_listeners(OutboxEvent):
        notify(partial(_announce_cancelled, pks))


def _announce_cancelled(pks: list[int]) -> None:
    for event in OutboxEvent.objects.in_bulk(pks).values():
        signals.event_cancelled.send_robust(OutboxEvent, event=event)


def _replaced(rows: list[Due]) -> tuple[dict[int, str], set[str]]:
    """
    Return the events that a newer one of their key replaces, and the contacts whose events have to wait for a lock.

    The newest pending event of a key becomes due in their place; one that is
    being sent is never touched. An event that was committed late, after a newer
    one had been sent, is replaced too. Maps each event to its contact.
    """
    newest: dict[str | None, int] = {}
    for row in rows:
        # Each identify call is judged separately, because an older one may have to stay.
        if not row.identifies:
            newest[row.coalesce_key] = max(row.newest, newest.get(row.coalesce_key, 0))
    contacts = {row.coalesce_key: row.contact for row in rows}
    replaced = {row.pk: row.coalesce_key for row in rows if row.pk < newest.get(row.coalesce_key, row.newest)}
    heirs = {row.newest: row.coalesce_key for row in rows if row.pk in replaced and row.newest == row.newest_pending}
    held = (
        {pk for pk, heir in OutboxEvent.objects.lock_by_key(heirs).items() if heir.status == Status.PENDING}
        if heirs
        else set()
    )
    if held:
        OutboxEvent.objects.filter(pk__in=held).update(**states.pulled_forward())
    busy = {key for pk, key in heirs.items() if pk not in held}
    if busy:
        # The event to be sent in their place is locked elsewhere: don't end them without it.
        later = [pk for pk, key in replaced.items() if key in busy]
        OutboxEvent.objects.filter(pk__in=later).update(**states.postponed())
    replaced |= _older_pending({key: pk for key, pk in newest.items() if key not in busy})
    return (
        {pk: contacts[key] for pk, key in replaced.items() if key not in busy},
        {contacts[key] for key in busy},
    )


def _older_pending(newest: dict[str | None, int]) -> dict[int, str | None]:
    if not newest:
        return {}
    using = OutboxEvent.objects.db
    found = statements.rows(using, statements.of(using).pending_of_keys, [statements.keys(using, newest), AT_ONCE])
    older = [pk for pk, key in found if pk < newest.get(key, 0)]
    locked = OutboxEvent.objects.lock_by_key(older) if older else {}
    return {pk: row.coalesce_key for pk, row in locked.items() if row.status == Status.PENDING}
