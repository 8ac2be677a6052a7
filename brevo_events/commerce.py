"""
Brevo's shop vocabulary: plain functions that return an ``Event``.

The names are those that Brevo's own shop plugins send and its mail templates
use. They are case-sensitive: ``{{ params.total }}``, ``{{ item.price }}``.
Brevo's abandoned-cart workflow is entered and restarted by ``cart_updated``,
and left by ``order_completed`` or ``cart_deleted``.

Money is a Decimal, an int, a float or a string such as ``"19.90"``, and always
becomes a JSON number. A shop may add its own names, which go into ``data``
unchanged. Type checkers only know Brevo's names, so that they find misspelt
ones: pass your own from a ``dict[str, Any]``, as ``**more``.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from django.db.models import Model
from django.utils import timezone

from brevo_events.encoding import shown
from brevo_events.events import Event
from brevo_events.exceptions import InvalidEvent
from brevo_events.items import Address, Id, Item, as_address, as_items, present
from brevo_events.money import Amounts, Money, amount, sums

__all__ = ["Address", "Item", "cart_deleted", "cart_updated", "order_completed"]

CART_UPDATED, CART_DELETED, ORDER_COMPLETED = "cart_updated", "cart_deleted", "order_completed"
OPTIONS = frozenset({"coalesce", "delay", "supersedes", "implied_by", "expires", "idempotency_key"})


def cart_updated(
    email: str | None,
    *,
    cart_id: Id,
    items: Iterable[Mapping[str, Any]],
    currency: str,
    url: str | None = None,
    affiliation: str | None = None,
    tax_included: bool = False,
    properties: Mapping[str, Any] | None = None,
    delay: float | dt.timedelta | None = None,
    expires: float | dt.timedelta | None = None,
    **amounts: Unpack[Amounts],
) -> Event | None:
    """
    Report a cart's current contents. Pending reports of a cart coalesce: only the newest is sent.

    Returns None if there is no e-mail address yet, as with an anonymous cart.
    ``items`` are ``Item`` objects or dicts with the same names, ``url`` is the
    address of the cart, and ``currency`` an ISO 4217 code. Pass only those
    amounts (``total``, ``subtotal``, ``discount``, ``shipping``, ``tax``,
    ``total_before_tax``) that can't be computed from the items, and
    ``tax_included=True`` if the prices include tax. Raises ``InvalidEvent``.
    """
    if email in (None, ""):
        return None
    lines = as_items(items)
    totals = sums(amounts, lines, tax_included=tax_included)
    return Event(
        CART_UPDATED,
        email,
        object_id=_cart(cart_id),
        properties=properties,
        data={
            **totals,
            **present(currency=_currency(currency), url=url, affiliation=affiliation),
            "items": lines,
            **_own(_not_totals(amounts)),
        },
        coalesce=True,
        delay=delay,
        expires=expires,
    )


def cart_deleted(
    email: str | None, *, cart_id: Id, properties: Mapping[str, Any] | None = None, **extra: Any
) -> Event | None:
    """
    Report that a cart is empty or gone, and cancel its pending ``cart_updated``.

    You can report it as often as you like, for each deleted line and also after
    the order: only the first report is kept, and none after the order, until
    the cart has been filled again. Returns None if there is no e-mail address.
    """
    if email in (None, ""):
        return None
    return Event(
        CART_DELETED,
        email,
        object_id=_cart(cart_id),
        properties=properties,
        data={"items": [], **_own(extra, "items")},
        coalesce=True,
        supersedes=(CART_UPDATED,),
        implied_by=(ORDER_COMPLETED, CART_DELETED),
    )


def order_completed(
    email: str,
    *,
    cart_id: Id,
    order_id: Id,
    items: Iterable[Mapping[str, Any]],
    currency: str,
    date: dt.date | None = None,
    url: str | None = None,
    revenue: Money | None = None,
    affiliation: str | None = None,
    discount_code: str | None = None,
    payment_method: str | None = None,
    shipping_method: str | None = None,
    shipping_address: Mapping[str, Any] | None = None,
    billing_address: Mapping[str, Any] | None = None,
    tax_included: bool = False,
    properties: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
    **amounts: Unpack[Amounts],
) -> Event:
    """
    Report an order, once, and cancel its cart's pending events.

    Brevo ends the reminders for the cart ``cart_id`` of this address, so use
    the address that the cart was reported with. The order number ``order_id``
    is the idempotency key unless you pass one, as several shops with one outbox
    must. ``date`` defaults to now and ``revenue`` to the total; for the
    amounts, see ``cart_updated``. Raises ``InvalidEvent``.
    """
    lines = as_items(items)
    totals = sums(amounts, lines, tax_included=tax_included)
    number = _text(order_id, "order_id")
    return Event(
        ORDER_COMPLETED,
        email,
        object_id=_cart(cart_id),
        properties=properties,
        data={
            "id": order_id,
            "date": timezone.now() if date is None else date,
            **totals,
            "revenue": totals["total"] if revenue is None else amount(revenue, "revenue"),
            **present(
                currency=_currency(currency),
                url=url,
                affiliation=affiliation,
                discount_code=discount_code,
                payment_method=payment_method,
                shipping_method=shipping_method,
                shipping_address=as_address(shipping_address, "shipping_address"),
                billing_address=as_address(billing_address, "billing_address"),
            ),
            "items": lines,
            **_own(_not_totals(amounts), "id"),
        },
        supersedes=(CART_UPDATED, CART_DELETED),
        idempotency_key=f"{ORDER_COMPLETED}:{number}" if idempotency_key is None else idempotency_key,
    )


def _cart(cart_id: Id) -> str:
    return f"cart:{_text(cart_id, 'cart_id')}"


def _text(value: Id, path: str) -> str:
    if isinstance(value, Model):
        raise InvalidEvent(f"{path} must be an id, not {type(value).__name__}: give its pk.")
    try:
        text = "" if value is None else str(value)
    except (ValueError, RecursionError) as error:  # an int with thousands of digits, for instance
        raise InvalidEvent(f"{path} must be an id, not {shown(value)}.") from error
    if not text.strip():
        raise InvalidEvent(f"{path} must not be empty.")
    return text


def _currency(code: str) -> str:
    if not (isinstance(code, str) and re.fullmatch("[A-Z]{3}", code)):
        raise InvalidEvent(f"currency must be a code of ISO 4217 such as EUR, not {shown(code)}.")
    return code


def _not_totals(amounts: Amounts) -> dict[str, Any]:
    return {name: value for name, value in amounts.items() if name not in Amounts.__annotations__}


def _own(given: Mapping[str, Any], *taken: str) -> Mapping[str, Any]:
    """Return the shop's own names for ``data``, which must not be options of an event or ``taken``."""
    if misplaced := OPTIONS.union(taken).intersection(given):
        raise TypeError(f"{min(misplaced)} is not an argument of this function. To set it, build an Event yourself.")
    return given
