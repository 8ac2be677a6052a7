"""Leases: which due events a worker takes, and the tidying it does on the way."""

from __future__ import annotations

import logging
import math
import operator
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import Error as DatabaseError
from django.db import OperationalError

from brevo_events.choices import Status
from brevo_events.clock import boottime
from brevo_events.conf import settings
from brevo_events.delivery import statements
from brevo_events.delivery.attempts import GRACE, Attempt
from brevo_events.delivery.breaker import Probe
from brevo_events.delivery.line import Due, park
from brevo_events.delivery.obsolete import Notify, announce_cancelled, end_obsolete
from brevo_events.delivery.transactions import own_transaction, read_committed
from brevo_events.models import Gate, OutboxEvent

logger = logging.getLogger(__name__)

SPARE = 20  # minimum number of events to read beyond those wanted, because some may be blocked
MAX_WINDOW = 1000
MAX_TIDIED = 1000  # events tidied without finding one to lease; then the worker does its other work

LOCK_WAIT_TIMEOUT = 1205  # MariaDB's error number for a row that is locked elsewhere

_COLUMNS = len(Due._fields)
# In the order of the model's fields.
_FIELDS = (
    *("id", "name", "email", "contact", "object_id", "body", "call", "status", "reason"),
    *("response_code", "attempts", "coalesce_key", "lease_token"),
)


@dataclass(slots=True)
class Claim:
    """
    The result of a claim.

    ``is_held`` if events are due, but the gate is closed or paused. ``is_all``
    if nothing else was due; ``is_unfinished`` if nothing was leased yet, but
    another claim may find something.
    """

    attempts: list[Attempt] = field(default_factory=list)
    is_held: bool = False
    is_all: bool = False
    is_unfinished: bool = False


def lease_seconds() -> float:
    """Return how long a claimed event belongs to its worker: long enough to wait for a thread and be sent."""
    return 3 * (settings.attempt_deadline + GRACE)


def seconds_until_due() -> float | None:
    """Return the seconds until the first event is due, or None if nothing is pending."""
    seconds = OutboxEvent.objects.seconds_until_first_due()
    return None if seconds is None else max(seconds, 0.0)


def claim(
    limit: int,
    *,
    probe: Probe | None = None,
    ready: Callable[[], object] = lambda: None,
    notify: Notify = operator.call,
) -> Claim:
    """
    Lease up to ``limit`` due events to the caller, oldest first, at most one of each contact.

    Events that must not be sent any more are ended on the way, and those that
    wait for another one of their contact are parked. Rows are only locked while
    they are marked, never during the HTTP call, and claiming never waits for a
    lock. If a worker dies, its lease simply runs out. With ``probe``, events
    are leased although the gate is closed, if this caller wins the probe;
    untried ones come first. ``ready`` is called before anything is leased, and
    may raise.
    """
    search = _Search(OutboxEvent.objects.db, limit + max(limit // 4, SPARE), untried_first=probe is not None)
    tidied = 0
    while limit > 0 and tidied < MAX_TIDIED:
        window = search.look()
        if window.is_held and probe is None:
            return Claim(is_held=True)
        chosen = search.choose(window)[:limit]
        if chosen:
            ready()
            if probe and not probe.win():
                return Claim(is_held=True)
        attempts = _lease(search.using, chosen, window, probe)
        is_tidied = _tidy([row for row in window.rows if not row.can_go], notify, is_optional=bool(attempts))
        if attempts:
            return Claim(attempts, is_all=search.is_whole(window) and len(attempts) == len(window.rows))
        if not search.goes_on(window, was_beaten=bool(chosen), is_tidied=is_tidied):
            return Claim(is_all=not window.rows)
        tidied += len(window.rows)
    return Claim(is_unfinished=limit > 0)


@dataclass(slots=True)
class _Window:
    rows: list[Due]
    events: dict[int, tuple[Any, ...]]  # the columns that are sent, by primary key
    generation: int
    is_held: bool


@dataclass(slots=True)
class _Search:
    """Reads windows of due events until one has something to lease."""

    using: str
    size: int
    untried_first: bool
    is_free: bool = False

    def look(self) -> _Window:
        said = statements.of(self.using)
        return self._look(
            said.untried_window if self.untried_first else said.free_window if self.is_free else said.window
        )

    def choose(self, window: _Window) -> list[Due]:
        """Return the events that can go; if a full window has none, look behind it, because tidying it takes longer."""
        chosen = [row for row in window.rows if row.can_go]
        if self.untried_first:
            random.shuffle(chosen)
        if chosen or len(window.rows) < self.size or self.untried_first:
            return chosen
        behind = self._look(statements.of(self.using).first_window)
        window.events |= behind.events
        return [row for row in behind.rows if row.can_go]

    def _look(self, statement: str) -> _Window:
        with read_committed(self.using):
            found = statements.rows(self.using, statement, [self.size])
        rows = [Due._make(columns[:_COLUMNS]) for columns in found]
        generation, is_held = found[0][_COLUMNS : _COLUMNS + 2] if found else (0, False)
        events = {columns[0]: columns[_COLUMNS + 2 :] for columns in found}
        return _Window(rows, events, generation or 0, bool(is_held))

    def is_whole(self, window: _Window) -> bool:
        """Return whether a window contains everything that is due."""
        return len(window.rows) < self.size and not self.untried_first

    def goes_on(self, window: _Window, *, was_beaten: bool, is_tidied: bool) -> bool:
        """Return whether another look may find something, after one without a lease."""
        if not is_tidied and self.untried_first:
            self.untried_first = False
            return True
        # Another worker was quicker, or a user has locked the rows: look at unlocked rows only.
        is_free, self.is_free = self.is_free, was_beaten and not is_tidied
        # One contact's long line may fill the window.
        self.size = min(3 * self.size, MAX_WINDOW)
        return is_tidied or (self.is_free and not is_free)


def _lease(using: str, rows: list[Due], window: _Window, probe: Probe | None) -> list[Attempt]:
    if not rows:
        return []
    began, token, seconds = boottime(), uuid.uuid4().hex, lease_seconds()
    leased = _mark(using, [row.pk for row in rows], token, seconds, is_probe=probe is not None)
    gate = probe.gate if probe else Gate(pk=1, generation=window.generation)
    return [
        Attempt(
            _event(using, row, window.events[row.pk], token),
            gate,
            leased_until=began + seconds,
            was_due_at=row.due_at,
            start_before=math.inf if row.seconds_left is None else began + float(row.seconds_left),
            may_become_obsolete=row.coalesce_key is not None or row.seconds_left is not None,
        )
        for row in rows
        if row.pk in leased
    ]


def _mark(using: str, pks: list[int], token: str, seconds: float, *, is_probe: bool) -> set[int]:
    """Lease the rows that haven't been taken or locked elsewhere in the meantime, and return which."""
    said = statements.of(using)
    values = [token, seconds, statements.keys(using, pks), int(is_probe)]
    try:
        with read_committed(using):
            count = statements.changed(using, said.lease, values)
    except OperationalError as error:
        if error.args[:1] != (LOCK_WAIT_TIMEOUT,):
            raise
        # MariaDB has no UPDATE that skips locked rows, only one that fails if there are any.
        with own_transaction(using):
            free = list(OutboxEvent.objects.lock_by_key(pks))
            values[2] = statements.keys(using, free)
            count = statements.changed(using, said.lease, values) if free else 0
    if count == len(pks):
        return set(pks)
    if not count:
        return set()
    return {pk for (pk,) in statements.rows(using, said.leased, [statements.keys(using, pks), token])}


def _event(using: str, row: Due, columns: tuple[Any, ...], token: str) -> OutboxEvent:
    name, email, object_id, attempts, code, call, body = columns
    state = (Status.SENDING, "", code, attempts, row.coalesce_key, token)
    values = (row.pk, name, email, row.contact, object_id, body, call, *state)
    return OutboxEvent.from_db(using, _FIELDS, values)


def _tidy(rows: list[Due], notify: Notify, *, is_optional: bool) -> bool:
    """End events that must not be sent, and park those that wait; return whether anything was done."""
    if not rows:
        return False
    try:
        with own_transaction(OutboxEvent.objects.db):
            rows = _lock_unchanged(rows)
            ended = end_obsolete(rows)
            # Events that have just ended no longer block others; the next window will show that.
            park({row.pk: row.head for row in rows if row.head != row.pk and row.contact not in ended.contacts})
        announce_cancelled(ended.cancelled, notify)
    except DatabaseError:
        if not is_optional:
            raise
        logger.exception("Some due events could not be put in order; the others are sent meanwhile.")
        return False
    return bool(rows)


def _lock_unchanged(rows: list[Due]) -> list[Due]:
    """Lock the rows that are free and still have the status that the window showed."""
    locked = OutboxEvent.objects.due().lock_by_key(row.pk for row in rows)
    return [row for row in rows if row.pk in locked and locked[row.pk].status == row.status]
