from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from itertools import groupby
from typing import Any

from django.db import Error as DatabaseError
from django.db import router, transaction
from django.dispatch import Signal

from brevo_events import consent, engines, signals
from brevo_events.choices import Status
from brevo_events.conf import is_debug, is_testing, settings
from brevo_events.events import Event
from brevo_events.exceptions import InvalidEvent, InvalidSetting
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
    coalesce: bool = False,
    delay: float | timedelta | None = None,
    supersedes: Iterable[str] = (),
    expires: float | timedelta | None = None,
    idempotency_key: str | None = None,
) -> OutboxEvent | None:
    """
    Capture one event in the caller's transaction: it goes out after the commit, and never after a rollback.

    The options are those of ``Event``. An ``Event`` may be given instead, and
    then nothing else. Returns None where nothing was kept: sending is not
    enabled, the contact does not consent, the idempotency key was seen before,
    or the event is invalid while ``RAISE_ERRORS`` is off. Raises
    ``InvalidEvent`` else. Database errors always propagate. From async code:
    ``sync_to_async(track)``.
    """
    options = {
        "object_id": object_id,
        "data": data,
        "properties": properties,
        "coalesce": coalesce,
        "delay": delay,
        "supersedes": supersedes,
        "expires": expires,
        "idempotency_key": idempotency_key,
    }
    if isinstance(name, Event):
        if email is not None or any(
            value is not None and value is not False and value != () for value in options.values()
        ):
            raise TypeError("track() takes an Event and nothing else, or a name and an e-mail address.")
        return _first(capture([name]))
    if not settings.is_enabled:
        return None
    try:
        event = Event(name, email, **options)  # type: ignore[arg-type]
    except InvalidEvent as error:
        reject(error, None)
        return None
    return _first(capture([event]))


def track_many(events: Iterable[Event]) -> list[OutboxEvent]:
    """Capture many events, in few statements; returns those that were kept."""
    return capture(list(events))


def cancel(email: str, *, name: str | None = None, object_id: str | None = None) -> int:
    """
    Cancel what is still pending of a contact, in the caller's transaction, and return how many.

    Only events of that name and object where they are given. What is being
    sent at this moment goes on.
    """
    waiting = OutboxEvent.objects.on_primary().of_contact(email).filter(status=Status.PENDING)
    if name is not None:
        waiting = waiting.filter(name=name)
    if object_id is not None:
        waiting = waiting.filter(object_id=object_id)
    count = len(waiting.cancel().pks)
    if count:
        _nudge_after_commit(waiting.db)
    return count


def capture(events: list[Event], *, changed_on: str | None = None, source: str = "") -> list[OutboxEvent]:
    """
    Write events into the outbox, in few statements; return those that were kept.

    ``changed_on`` is the database alias on which a model changed. Where the
    outbox lives on another one, the two cannot share a transaction: then the
    INSERT runs after that commit, and nothing is returned. ``source`` names the
    row that changed.
    """
    for event in events:
        if not isinstance(event, Event):
            raise TypeError(f"Expected an Event, not {type(event).__name__}.")
    if not settings.is_enabled:
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
    """Raise an error of an event or a ``track_on`` function, or where errors are not raised, log and announce it."""
    if settings.raises_errors:
        raise error
    logger.error("An event was not captured: %s", error, exc_info=error)
    _tell(signals.event_rejected, sender, error=error)


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
    rows: list[OutboxEvent] = []
    # Side by side, so that the order of the rows is that of the events.
    for has_key, group in groupby(events, lambda event: event.idempotency_key is not None):
        together = list(group)
        insert = _insert_singly if has_key or len(together) == 1 else _insert_together
        rows += insert(together, using, source)
    for row in rows:
        _tell(signals.event_captured, OutboxEvent, event=row)
    if rows:
        _nudge_after_commit(using)
    return rows


def _insert_singly(events: list[Event], using: str, source: str) -> list[OutboxEvent]:
    rows = []
    for event in events:
        row = OutboxEvent.of(event, source)
        if OutboxEvent.objects.using(using).insert(row):
            _supersede(event, row, using)
            rows.append(row)
    return rows


def _insert_together(events: list[Event], using: str, source: str) -> list[OutboxEvent]:
    rows = [OutboxEvent.of(event, source) for event in events]
    OutboxEvent.objects.using(using).bulk_create(rows, batch_size=BATCH)
    for event, row in zip(events, rows, strict=True):
        row.forget_expressions()
        _supersede(event, row, using)
    return rows


def _supersede(event: Event, row: OutboxEvent, using: str) -> None:
    if event.supersedes:
        OutboxEvent.objects.using(using).supersede(row, event.supersedes)


def _nudge_after_commit(using: str) -> None:
    # Robust, so that delivery cannot break the request that caused it; under test, errors are for seeing.
    transaction.on_commit(engines.nudge, using=using, robust=not is_testing())


def _tell(signal: Signal, sender: Any, **told: Any) -> None:
    for _receiver, result in signal.send_robust(sender, **told):
        if isinstance(result, DatabaseError):
            # It has broken the caller's transaction: to go on would lose that without a word.
            raise result


def _first(rows: list[OutboxEvent]) -> OutboxEvent | None:
    return rows[0] if rows else None
