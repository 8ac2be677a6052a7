from __future__ import annotations

from itertools import groupby

from django.db import connections
from django.db.models import Q

from brevo_events.choices import UNFINISHED, Status
from brevo_events.events import Event
from brevo_events.models import OutboxEvent

BATCH = 100  # events of 50 KB in one statement stay below MariaDB's maximum packet size


def write(events: list[Event], using: str, source: str = "") -> list[OutboxEvent]:
    """Insert events in few statements, supersede others as they require, and return the rows that were kept."""
    rows: list[OutboxEvent] = []
    # Only adjacent events, so that the rows are in the order of the events.
    for is_single, group in groupby(events, lambda event: bool(event.idempotency_key or event.implied_by)):
        together = list(group)
        # Without RETURNING, rows inserted together don't get the primary keys that are needed to supersede others.
        has_keys = connections[using].features.can_return_rows_from_bulk_insert
        insert = _insert_singly if is_single or len(together) == 1 or not has_keys else _insert_together
        rows += insert(together, using, source)
    return rows


def _insert_singly(events: list[Event], using: str, source: str) -> list[OutboxEvent]:
    rows = []
    for event in events:
        row = OutboxEvent.of(event, source)
        if _is_seen(row, using):
            continue
        if _is_implied(event, using):
            _supersede(event, row, using)
        elif OutboxEvent.objects.using(using).insert(row):
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


def _is_seen(row: OutboxEvent, using: str) -> bool:
    # Only on MariaDB: there, an INSERT that finds the key locks the gap after it until the transaction ends, and other
    # captures would have to wait.
    if row.idempotency_key is None or connections[using].vendor != "mysql":
        return False
    return OutboxEvent.objects.using(using).filter(idempotency_key=row.idempotency_key).exists()


def _is_implied(event: Event, using: str) -> bool:
    """Return whether another event has told Brevo the same, or will, without a contradicting event since."""
    if not event.implied_by:
        return False
    implied_by, supersedes = tuple(event.implied_by), tuple(event.supersedes)
    # An event that is superseded before its first attempt never reaches Brevo.
    unheard = Q(name__in=supersedes, status=Status.PENDING, attempts=0)
    told = OutboxEvent.objects.using(using).filter(contact=event.contact_hash, object_id=event.object_id)
    told = told.filter(name__in=implied_by + supersedes, status__in=(*UNFINISHED, Status.SENT)).exclude(unheard)
    return told.order_by("-pk").values_list("name", flat=True).first() in implied_by


def _supersede(event: Event, row: OutboxEvent, using: str) -> None:
    if event.supersedes:
        OutboxEvent.objects.using(using).supersede(row, event.supersedes)
