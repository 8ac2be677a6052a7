from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any
from weakref import WeakKeyDictionary

from django.db import Error as DatabaseError
from django.db import router, transaction
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

    The options are those of ``Event``. An ``Event`` may be given instead, and
    then nothing else; or None, as ``commerce`` returns it for an anonymous
    cart. Returns None if nothing was kept: capturing is switched off or muted,
    the contact does not consent, the idempotency key was seen before, another
    event has said the same already, or the event is invalid while
    ``RAISE_ERRORS`` is off. Otherwise an invalid event raises ``InvalidEvent``.
    Database errors always propagate. From async code: ``sync_to_async(track)``.
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
    Capture a call of ``identify``: the contact exists, with these attributes, before its next events arrive.

    In the outbox it is an event with the name ``identify``. A newer call
    replaces a pending older one of the contact, unless another event of the
    contact was captured between the two: that one must not arrive first.
    Attributes are not merged: pass all that you know each time. Brevo leaves
    those that a call does not name as they are, and ignores those that the
    account does not have. Where only the address is known, pass ``{}``.
    Otherwise like ``track``.
    """
    return _capture_made(
        lambda: Identification(email, attributes, delay=delay, idempotency_key=idempotency_key),
    )


def track_many(events: Iterable[Event]) -> list[OutboxEvent]:
    """Capture many events, in few statements; returns those that were kept."""
    return capture(list(events))


def cancel(email: str, *, name: str | None = None, object_id: str | None = None) -> int:
    """
    Cancel what is still pending of a contact, in the caller's transaction, and return how many events.

    With a name or an object, only events that have it. What is being sent at
    this moment goes on.
    """
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
    """Return whether nothing is captured: by the setting ``ENABLED``, or here by ``muted()``."""
    return is_muted() or not settings.ENABLED


def capture(events: list[Event], *, changed_on: str | None = None, source: str = "") -> list[OutboxEvent]:
    """
    Write events into the outbox, in few statements; return those that were kept.

    ``changed_on`` is the database alias on which a model changed. If the outbox
    lives on another one, the two cannot share a transaction: then the INSERT
    runs after that commit, and nothing is returned. ``source`` names the row
    that changed.
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
    if changed_on not in (None, using) and transaction.get_connection(changed_on).in_atomic_block:
        transaction.on_commit(lambda: _insert(events, using, source), using=changed_on, robust=not is_testing())
        return []
    return _insert(events, using, source)


def reject(error: Exception, sender: Any) -> None:
    """Raise an error of an event or a ``track_on`` function, or log and announce it if ``RAISE_ERRORS`` is off."""
    if settings.RAISE_ERRORS:
        raise error
    logger.error("An event was not captured: %s", error, exc_info=error)
    _notify(signals.event_rejected, sender, error=error)


def nudge_after_commit(using: str) -> None:
    """Wake the engine when the current transaction is committed: once, however often this is called in it."""
    connection = transaction.get_connection(using)
    if not (connection.in_atomic_block or connection.get_autocommit()):
        return  # Django does not see that commit, and the engine looks by itself before long
    nudge = _nudges.get(connection)
    if nudge is None or nudge.is_made:
        nudge = _nudges[connection] = _Nudge()
    # Robust, so that delivery cannot break the request that caused it; under test, errors are for seeing.
    transaction.on_commit(nudge.make, using=using, robust=not is_testing())


class _Nudge:
    """One call of the engine that many captures have asked for, some of them in savepoints that were rolled back."""

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
        # It is asked again before sending, and until it can be, nothing is sent.
        logger.error("%s", error)  # noqa: TRY400 - the message says it all
        return True


def _insert(events: list[Event], using: str, source: str) -> list[OutboxEvent]:
    rows = outbox.write(events, using, source)
    for row in rows:
        _notify(signals.event_captured, OutboxEvent, event=row)
    # An event that is not kept may supersede others all the same.
    if rows or any(event.implied_by for event in events):
        nudge_after_commit(using)
    return rows


def _notify(signal: Signal, sender: Any, **values: Any) -> None:
    for _receiver, result in signal.send_robust(sender, **values):
        if isinstance(result, DatabaseError):
            # It has broken the caller's transaction: to go on would lose that without a word.
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
