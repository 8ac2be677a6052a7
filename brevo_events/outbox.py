from __future__ import annotations

from itertools import groupby

from django.db import connections
from django.db.models import Q

from brevo_events.choices import UNFINISHED, Status
from brevo_events.events import Event
from brevo_events.models import OutboxEvent

BATCH = 100  # events of 50 KB in one statement stay below what MariaDB takes in one packet


def write(events: list[Event], using: str, source: str = "") -> list[OutboxEvent]:
    """Insert events in few statements, supersede others as they say, and return the rows of those that were kept."""
    rows: list[OutboxEvent] = []
    # Side by side, so that the order of the rows is that of the events.
    for is_single, group in groupby(events, lambda event: bool(event.idempotency_key or event.implied_by)):
        together = list(group)
        # Without RETURNING, rows that are inserted together come back without the keys by which they supersede others.
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
    # Only MariaDB is asked beforehand: its INSERT that finds the key locks the gap behind it until the transaction
    # ends, and captures of others wait for that.
    if row.idempotency_key is None or connections[using].vendor != "mysql":
        return False
    return OutboxEvent.objects.using(using).filter(idempotency_key=row.idempotency_key).exists()


def _is_implied(event: Event, using: str) -> bool:
    """Return whether Brevo has heard, or will hear, the same from another event, and nothing to the contrary since."""
    if not event.implied_by:
        return False
    implied_by, supersedes = tuple(event.implied_by), tuple(event.supersedes)
    # What is superseded before its first attempt, Brevo never hears of.
    unheard = Q(name__in=supersedes, status=Status.PENDING, attempts=0)
    told = OutboxEvent.objects.using(using).filter(contact=event.contact_hash, object_id=event.object_id)
    told = told.filter(name__in=implied_by + supersedes, status__in=(*UNFINISHED, Status.SENT)).exclude(unheard)
    return told.order_by("-pk").values_list("name", flat=True).first() in implied_by


def _supersede(event: Event, row: OutboxEvent, using: str) -> None:
    if event.supersedes:
        OutboxEvent.objects.using(using).supersede(row, event.supersedes)
