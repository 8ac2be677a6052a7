"""What people type to find events: an address, ID, order number, object or idempotency key."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Q

from brevo_events.addresses import contact_hash
from brevo_events.events import key_hash
from brevo_events.models import OutboxEvent
from brevo_events.querysets import OutboxEventQuerySet

MAX_DIGITS = 18  # with more, a database may reject the number
MAX_ORDERS = 10  # events whose objects are looked up: what more events share isn't an order number


def search(events: OutboxEventQuerySet, text: str, *, by_contact: bool) -> OutboxEventQuerySet:
    """
    Return the events that a text names, or all if it is empty.

    ``#3130`` is an ID. An order's number also finds the other events of its
    cart. Without ``by_contact``, nothing with an ``@`` is searched for, because
    a hit would reveal an address that is masked. Each meaning of the text is
    tried with its own index first, because a database that is asked for all at
    once may read the whole table.
    """
    term = text.strip().replace("\0", "")
    if not term:
        return events
    if is_about_address(term) and not by_contact:
        return events.none()
    found = [meaning for meaning in _meanings(term) if events.filter(meaning).order_by().exists()]
    if not found:
        return events.none()
    wanted = found[0]
    for meaning in (*found[1:], *_same_objects(events, found)):
        wanted |= meaning
    return events.filter(wanted)


def is_about_address(text: str) -> bool:
    """Return whether a search is for an address, or for a text that contains one."""
    return "@" in text


def is_named_by(event: OutboxEvent, text: str) -> bool:
    """Return whether a text is an event's order number or idempotency key."""
    term = text.strip()
    return bool(term) and (event.reference == term or event.idempotency_key == key_hash(term))


def _same_objects(events: OutboxEventQuerySet, meanings: list[Q]) -> Iterator[Q]:
    """Return conditions for the objects of events with this order number or idempotency key."""
    for meaning in meanings:
        if {lookup for lookup, _value in meaning.children} <= {"reference", "idempotency_key"}:  # type: ignore[misc]
            objects = events.filter(meaning).exclude(object_id=None).exclude(contact="").order_by()
            pairs = list(objects.values_list("contact", "object_id")[: MAX_ORDERS + 1])
            if len(pairs) <= MAX_ORDERS:
                yield from (Q(contact=contact, object_id=object_id) for contact, object_id in set(pairs))


def _meanings(term: str) -> Iterator[Q]:
    number = term.removeprefix("#").strip()
    if number.isdecimal() and len(number) <= MAX_DIGITS:
        yield Q(pk=int(number))
    if term.startswith("#") and number:
        return
    if is_about_address(term):
        yield Q(contact=contact_hash(term))
    yield Q(reference=term)
    yield Q(object_id=term)
    yield Q(idempotency_key=key_hash(term))
