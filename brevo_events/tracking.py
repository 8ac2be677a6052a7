from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any
from weakref import WeakKeyDictionary

from django.db import Error as DatabaseError
from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.dispatch import Signal

from brevo_events import consent, engines, outbox, signals
from brevo_events.choices import Reason, Status
from brevo_events.conf import is_debug, is_testing, settings
from brevo_events.events import Event, Identification
from brevo_events.exceptions import InvalidEvent, InvalidSetting
from brevo_events.models import OutboxEvent
from brevo_events.muting import is_muted

logger = logging.getLogger(__name__)


def track(
    name: str | Event | None,
    email: str | None = None,
    *,
    object_id: str | None = None,
    data: Mapping[str, Any] | None = None,
    properties: Mapping[str, Any] | None = None,
    coalesce: bool = False,
    delay: float | timedelta | None = None,
    supersedes: Iterable[str] = (),
    implied_by: Iterable[str] = (),
    expires: float | timedelta | None = None,
    idempotency_key: str | None = None,
) -> OutboxEvent | None:
    """
    Capture one event in the caller's transaction: it is sent after the commit, and never after a rollback.

    The options are those of ``Event``. You can pass an ``Event`` instead,
    without any options, or None, which ``commerce`` returns for an anonymous
    cart. Returns None if nothing was captured: capturing is switched off or
    muted, the contact doesn't consent, the idempotency key has been used
    before, another event has already said the same, or the event is invalid and
    ``RAISE_ERRORS`` is off. It also returns None if the event will be captured
    only after the commit of a transaction on another database than the
    outbox's. Otherwise, an invalid event raises ``InvalidEvent``. Database
    errors always propagate. From async code: ``sync_to_async(track)``.
    """
    options = {
        "object_id": object_id,
        "data": data,
        "properties": properties,
        "coalesce": coalesce,
        "delay": delay,
        "supersedes": supersedes,
        "implied_by": implied_by,
        "expires": expires,
        "idempotency_key": idempotency_key,
    }
    if isinstance(name, Event) or (name is None and email is None):
        if email is not None or any(_is_given(value) for value in options.values()):
            raise TypeError("track() takes an Event and nothing else, or a name and an e-mail address.")
        return _first(capture([] if name is None else [name]))
    return _capture_made(lambda: Event(name, email, **options))  # type: ignore[arg-type]


def identify(
    email: str,
    attributes: Mapping[str, Any],
    *,
    delay: float | timedelta | None = None,
    idempotency_key: str | None = None,
) -> OutboxEvent | None:
    """
    Capture an ``identify`` call: the contact exists, with these attributes, before its next events arrive.

    In the outbox, it is an event with the name ``identify``. A newer call
    replaces the contact's pending older one, unless another event of the
    contact was captured between the two, because that event must not arrive
    first. Attributes aren't merged: pass all that you know each time. Brevo
    leaves attributes that a call doesn't name unchanged, and ignores those that
    the account doesn't have. If you only know the address, pass ``{}``.
    Otherwise like ``track``.
    """
    return _capture_made(
        lambda: Identification(email, attributes, delay=delay, idempotency_key=idempotency_key),
    )


def track_many(events: Iterable[Event | None]) -> list[OutboxEvent]:
    """Capture many events, in few statements; returns those that were captured. None is skipped, as by ``track``."""
    return capture([event for event in events if event is not None])


def cancel(email: str | None, *, name: str | None = None, object_id: str | None = None) -> int:
    """
    Cancel a contact's pending events, in the caller's transaction, and return how many.

    With a name or an object, only the events that have it. An event that is
    being sent at this moment isn't stopped. Without an address, there is
    nothing to cancel.
    """
    if not email:
        return 0
    pending = OutboxEvent.objects.of_contact(email).filter(status=Status.PENDING)
    if name is not None:
        pending = pending.filter(name=name)
    if object_id is not None:
        pending = pending.filter(object_id=object_id)
    count = len(pending.cancel(reason=Reason.APPLICATION).pks)
    if count:
        nudge_after_commit(pending.db)
    return count


def is_off() -> bool:
    """Return whether nothing is captured: because ``ENABLED`` is False, or inside ``muted()``."""
    return is_muted() or not settings.ENABLED


def capture(events: list[Event], *, changed_on: str | None = None, source: str = "") -> list[OutboxEvent]:
    """
    Write events into the outbox, in few statements; return those that were captured.

    ``changed_on`` is the database alias on which a model changed, None if that
    isn't known. If a transaction is open on another database than the outbox's,
    the two can't share it: then the INSERT runs after that commit, and nothing
    is returned. ``source`` names the row that changed.
    """
    for event in events:
        if not isinstance(event, Event):
            raise TypeError(f"Expected an Event, not {type(event).__name__}.")
    if is_off():
        return []
    events = [event for event in events if _has_consent(event)]
    if not events:
        return []
    using = router.db_for_write(OutboxEvent)
    first = _to_be_committed_first(changed_on, using)
    if first is not None:
        transaction.on_commit(lambda: _insert(events, using, source), using=first, robust=not is_testing())
        return []
    return _insert(events, using, source)


def _to_be_committed_first(changed_on: str | None, using: str) -> str | None:
    """Return the alias of another database whose open transaction has to be committed first, if there is one."""
    if changed_on is None and connections[using].in_atomic_block:
        return None
    others = [connections[changed_on]] if changed_on else connections.all(initialized_only=True)
    return next((other.alias for other in others if other.alias != using and other.in_atomic_block), None)


def reject(error: Exception, sender: Any) -> None:
    """Raise an error of an event or ``track_on`` function; if ``RAISE_ERRORS`` is off, log it and send the signal."""
    if settings.RAISE_ERRORS:
        raise error
    logger.error("An event was not captured: %s", error, exc_info=error)
    _notify(signals.event_rejected, sender, error=error)


def nudge_after_commit(using: str) -> None:
    """Wake the engine after the current transaction is committed: once, however often this is called in it."""
    connection = transaction.get_connection(using)
    if not (connection.in_atomic_block or connection.get_autocommit()):
        return  # Django doesn't see that commit; the engine will soon check by itself
    nudge = _nudges.get(connection)
    if nudge is None or nudge.is_made:
        nudge = _nudges[connection] = _Nudge()
    # Robust, so that delivery can't break the request that caused it; under test, errors should be seen.
    transaction.on_commit(nudge.make, using=using, robust=not is_testing())


class _Nudge:
    """One call of the engine on behalf of many captures, some of them in savepoints that were rolled back."""

    is_made = False

    def make(self) -> None:
        if not self.is_made:
            self.is_made = True
            engines.nudge()


# After a rollback, the nudge is left for the next transaction.
_nudges: WeakKeyDictionary[BaseDatabaseWrapper, _Nudge] = WeakKeyDictionary()


def _is_given(value: Any) -> bool:
    return not any(value is default for default in (None, False, ()))


def _has_consent(event: Event) -> bool:
    try:
        return consent.is_given(event)
    except InvalidSetting as error:
        if is_debug() or is_testing():
            raise
        # CONSENT is called again before sending, and nothing is sent until that works.
        logger.error("%s", error)  # noqa: TRY400 - the message says it all
        return True


def _insert(events: list[Event], using: str, source: str) -> list[OutboxEvent]:
    rows = outbox.write(events, using, source)
    for row in rows:
        _notify(signals.event_captured, OutboxEvent, event=row)
    # Even an event that isn't captured may supersede others.
    if rows or any(event.implied_by for event in events):
        nudge_after_commit(using)
    return rows


def _notify(signal: Signal, sender: Any, **values: Any) -> None:
    for _receiver, result in signal.send_robust(sender, **values):
        if isinstance(result, DatabaseError):
            # The caller's transaction is broken: going on would lose it silently.
            raise result


def _capture_made(make: Callable[[], Event]) -> OutboxEvent | None:
    if is_off():
        return None
    try:
        event = make()
    except InvalidEvent as error:
        reject(error, None)
        return None
    return _first(capture([event]))


def _first(rows: list[OutboxEvent]) -> OutboxEvent | None:
    return rows[0] if rows else None
