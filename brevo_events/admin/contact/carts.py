"""What Brevo knows about a cart, judging by the events of its object. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from brevo_events.choices import UNFINISHED, Status
from brevo_events.commerce import CART_DELETED, CART_UPDATED, ORDER_COMPLETED
from brevo_events.models import OutboxEvent
from brevo_events.times import between, exactly


@dataclass(frozen=True, slots=True)
class CartVerdict:
    """What Brevo knows about a cart; ``kind`` is the status that determines its colour."""

    text: str
    note: str = ""
    kind: str = Status.SENT.value


def verdict_on(events: Sequence[OutboxEvent]) -> CartVerdict | None:
    """Return what Brevo knows about a cart, given all its events, oldest first; None if they aren't about a cart."""
    order, newest = _last(events, ORDER_COMPLETED), _last(events, CART_UPDATED, CART_DELETED)
    known = _last([event for event in events if _known_at(event)], CART_UPDATED, CART_DELETED)
    # A cart that is filled again after its order starts from scratch.
    if order and not (known and known.pk > order.pk):
        return _of_order(order, events)
    if known:
        return _of_cart(known)
    return _unknown(_("Brevo does not know about this cart."), newest) if newest else None


def _of_order(order: OutboxEvent, events: Sequence[OutboxEvent]) -> CartVerdict:
    known_at = _known_at(order)
    if known_at is None:
        return _unknown(_("Brevo does not know about the order."), order)
    carts = [at for event in events if event.name == CART_UPDATED and (at := _known_at(event)) and at <= known_at]
    if not carts:
        text = _("Brevo has known about the order since %s; no cart update came before it.")
        return CartVerdict(text % exactly(known_at))
    told = {"when": exactly(known_at), "gap": between(max(carts), known_at)}
    return CartVerdict(
        _("Brevo has known about the order since %(when)s, %(gap)s after the last cart update.") % told,
        _("If a reminder was sent later than that, check the exit conditions of the automation."),
    )


def _of_cart(event: OutboxEvent) -> CartVerdict:
    known_at = _known_at(event)
    when = exactly(known_at) if known_at else ""
    if event.name == CART_DELETED:
        return CartVerdict(_("Brevo has known since %s that the cart is empty.") % when)
    text = _("Left behind: Brevo has known about this cart since %s, and no order followed.")
    return CartVerdict(text % when, kind=Status.PENDING.value)


def _unknown(text: str, event: OutboxEvent) -> CartVerdict:
    if event.status in UNFINISHED:
        return CartVerdict(text, _("%s is still waiting.") % event, Status.PENDING.value)
    if event.status == Status.FAILED:
        return CartVerdict(text, _("%s failed.") % event, Status.FAILED.value)
    return CartVerdict(text, _("%s was cancelled.") % event, Status.CANCELLED.value)


def _known_at(event: OutboxEvent) -> datetime | None:
    return event.finished_at if event.status == Status.SENT else None


def _last(events: Sequence[OutboxEvent], *names: str) -> OutboxEvent | None:
    return next((event for event in reversed(events) if event.name in names), None)
