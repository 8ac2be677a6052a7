from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import Error as DatabaseError
from django.db import router, transaction
from django.dispatch import Signal

from brevo_events import engines, signals
from brevo_events.conf import is_testing, settings
from brevo_events.events import Event
from brevo_events.exceptions import InvalidEvent
from brevo_events.models import OutboxEvent

logger = logging.getLogger(__name__)

BATCH = 100  # events of 50 KB in one statement stay below what MariaDB takes in one packet


def track(
    name: str | Event,
    email: str | None = None,
    *,
    object_id: str | None = None,
    data: Mapping[str, Any] | None = None,
    properties: Mapping[str, Any] | None = None,
) -> OutboxEvent | None:
    """
    Capture one event in the caller's transaction: it goes out after the commit, and never after a rollback.

    An ``Event`` may be given instead, and then nothing else. Returns None where
    nothing was kept: sending is not enabled, or the event is invalid while
    ``RAISE_ERRORS`` is off. Raises ``InvalidEvent`` else. Database errors always
    propagate. From async code: ``sync_to_async(track)``.
    """
    if isinstance(name, Event):
        if any(argument is not None for argument in (email, object_id, data, properties)):
            raise TypeError("track() takes an Event and nothing else, or a name and an e-mail address.")
        return _first(capture([name]))
    if not settings.is_enabled:
        return None
    try:
        event = Event(name, email, object_id=object_id, data=data, properties=properties)  # type: ignore[arg-type]
    except InvalidEvent as error:
        reject(error, None)
        return None
    return _first(capture([event]))


def track_many(events: Iterable[Event]) -> list[OutboxEvent]:
    """Capture many events, in few statements; returns those that were kept."""
    return capture(list(events))


def capture(events: list[Event], *, changed_on: str | None = None) -> list[OutboxEvent]:
    """
    Write events into the outbox, in one statement.

    ``changed_on`` is the database alias on which a model changed. Where the
    outbox lives on another one, the two cannot share a transaction: then the
    INSERT runs after that commit, and nothing is returned.
    """
    for event in events:
        if not isinstance(event, Event):
            raise TypeError(f"Expected an Event, not {type(event).__name__}.")
    if not events or not settings.is_enabled:
        return []
    using = router.db_for_write(OutboxEvent)
    if changed_on not in (None, using) and transaction.get_connection(changed_on).in_atomic_block:
        transaction.on_commit(lambda: _insert(events, using), using=changed_on, robust=not is_testing())
        return []
    return _insert(events, using)


def reject(error: Exception, sender: Any) -> None:
    """Raise an error of an event or a ``track_on`` function, or where errors are not raised, log and announce it."""
    if settings.raises_errors:
        raise error
    logger.error("An event was not captured: %s", error, exc_info=error)
    _tell(signals.event_rejected, sender, error=error)


def _insert(events: list[Event], using: str) -> list[OutboxEvent]:
    rows = [OutboxEvent.of(event) for event in events]
    if len(rows) == 1:
        rows[0].save(using=using, force_insert=True)
    else:
        OutboxEvent.objects.using(using).bulk_create(rows, batch_size=BATCH)
    for row in rows:
        _tell(signals.event_captured, OutboxEvent, event=row)
    # Robust, so that delivery cannot break the request that caused it; under test, errors are for seeing.
    transaction.on_commit(engines.nudge, using=using, robust=not is_testing())
    return rows


def _tell(signal: Signal, sender: Any, **told: Any) -> None:
    for _receiver, result in signal.send_robust(sender, **told):
        if isinstance(result, DatabaseError):
            # It has broken the caller's transaction: to go on would lose that without a word.
            raise result


def _first(rows: list[OutboxEvent]) -> OutboxEvent | None:
    return rows[0] if rows else None
