"""The events of a contact, grouped by object."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from urllib.parse import urlencode

from brevo_events.admin.contact.carts import CartVerdict, verdict_on
from brevo_events.admin.event.page import Other, other_of
from brevo_events.admin.event.relations import successor_among
from brevo_events.admin.permissions import object_of
from brevo_events.choices import Reason
from brevo_events.models import OutboxEvent
from brevo_events.querysets import OutboxEventQuerySet
from brevo_events.times import between

MAX_OF_OBJECTS = 1000  # events by which the carts of a page are judged


@dataclass(frozen=True, slots=True)
class Row:
    """An event of the contact; ``took`` is the time from its capture to its end."""

    shown: Other
    took: str
    successor: OutboxEvent | None


@dataclass(frozen=True, slots=True)
class Group:
    """The events of one object on a page, oldest first, and the verdict on all events of the object."""

    object_id: str
    url: str
    rows: list[Row]
    verdict: CartVerdict | None


def groups_of(
    events: list[OutboxEvent], of_contact: OutboxEventQuerySet, list_url: str, *, shows_contact: bool
) -> list[Group]:
    """
    Return the events of a page, newest first, by object: the object with the newest event comes first.

    ``of_contact`` are all events of the contact. The newest 1,000 events of
    these objects are read as well, because an order may be on another page than
    its cart.
    """
    grouped: dict[str | None, list[OutboxEvent]] = defaultdict(list)
    for event in events:
        grouped[event.object_id].insert(0, event)
    known = _known(events, of_contact)
    return [_group(each, known[object_id], list_url, shows_contact) for object_id, each in grouped.items()]


def _known(events: list[OutboxEvent], of_contact: OutboxEventQuerySet) -> dict[str | None, list[OutboxEvent]]:
    """Return all events of some events' objects, each object's oldest first."""
    objects = {event.object_id for event in events if event.object_id is not None}
    more = of_contact.filter(object_id__in=objects).defer("body").order_by("-pk")[:MAX_OF_OBJECTS] if objects else ()
    known: dict[str | None, list[OutboxEvent]] = defaultdict(list)
    for _pk, event in sorted({event.pk: event for event in [*more, *events]}.items()):
        known[event.object_id].append(event)
    return known


def _group(events: list[OutboxEvent], known: list[OutboxEvent], list_url: str, shows_contact: bool) -> Group:
    object_id = events[0].object_id
    # A search for an object that is an address would reveal the address.
    can_search = object_id is not None and (shows_contact or "@" not in object_id)
    return Group(
        object_id=object_of(events[0], shows_contact=shows_contact),
        url=f"{list_url}?{urlencode({'q': object_id})}" if can_search else "",
        rows=[_row(event, known, shows_contact) for event in events],
        verdict=verdict_on(known) if object_id is not None else None,
    )


def _row(event: OutboxEvent, known: list[OutboxEvent], shows_contact: bool) -> Row:
    successor = None
    if event.reason == Reason.SUPERSEDED and event.is_finished:
        successor = successor_among(event, [other for other in known if other.pk > event.pk])
    took = between(event.created_at, event.finished_at) if event.finished_at else ""
    return Row(other_of(event, shows_contact=shows_contact), took, successor)
