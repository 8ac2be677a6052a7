"""
Brevo's shop vocabulary: plain functions that return an ``Event``.

The names are those that Brevo's own shop plugins send and its mail templates
print, case-exact: ``{{ params.total }}``, ``{{ item.price }}``. Brevo's
abandoned-cart workflow is entered and restarted by ``cart_updated``, and left
by ``order_completed`` or ``cart_deleted``.

Money is a Decimal, an int, a float or a text such as ``"19.90"``, and always
becomes a JSON number. What a shop adds goes into ``**extra``.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, TypeAlias

from django.utils import timezone

from brevo_events.events import Event
from brevo_events.exceptions import InvalidEvent

__all__ = ["Address", "Item", "cart_deleted", "cart_updated", "order_completed"]

Money: TypeAlias = Decimal | int | float | str
Id: TypeAlias = Any  # an int, a str or a UUID

CART_UPDATED = "cart_updated"
OPTIONS = frozenset({"coalesce", "delay", "supersedes", "expires", "idempotency_key"})
FINEST = 6  # digits behind the point of an amount: what a float or a division adds to it is smaller


class Item(dict[str, Any]):
    """
    Describe one line of a cart or an order, as the dict that Brevo is sent.

    ``price`` is of one unit. The stock mail template prints ``name``,
    ``price``, ``quantity``, ``url`` and ``image``, the last two as whole
    addresses. Raises ``InvalidEvent`` for what is no amount.
    """

    def __init__(
        self,
        *,
        name: str,
        price: Money,
        quantity: Money = 1,
        id: Id | None = None,  # noqa: A002 - Brevo's name
        sku: str | None = None,
        category: str | None = None,
        variant_id: Id | None = None,
        variant_name: str | None = None,
        tax: Money | None = None,
        url: str | None = None,
        image: str | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(
            _present(
                id=id,
                sku=sku,
                name=name,
                category=category,
                variant_id=variant_id,
                variant_name=variant_name,
                quantity=_needed_amount(quantity, "quantity"),
                price=_needed_amount(price, "price"),
                tax=_amount(tax, "tax"),
                url=url,
                image=image,
                **extra,
            )
        )


class Address(dict[str, Any]):
    """Describe where an order goes, or who pays, as the dict that Brevo is sent."""

    def __init__(
        self,
        *,
        firstname: str | None = None,
        lastname: str | None = None,
        company: str | None = None,
        phone: str | None = None,
        address1: str | None = None,
        address2: str | None = None,
        city: str | None = None,
        country: str | None = None,
        state: str | None = None,
        zipcode: str | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(
            _present(
                firstname=firstname,
                lastname=lastname,
                company=company,
                phone=phone,
                address1=address1,
                address2=address2,
                city=city,
                country=country,
                state=state,
                zipcode=zipcode,
                **extra,
            )
        )


def cart_updated(
    email: str,
    *,
    cart_id: Id,
    items: Iterable[Mapping[str, Any]],
    currency: str,
    url: str | None = None,
    total: Money | None = None,
    subtotal: Money | None = None,
    discount: Money | None = None,
    shipping: Money | None = None,
    tax: Money | None = None,
    total_before_tax: Money | None = None,
    affiliation: str | None = None,
    properties: Mapping[str, Any] | None = None,
    delay: float | dt.timedelta | None = None,
    expires: float | dt.timedelta | None = None,
    **extra: Any,
) -> Event:
    """
    Tell what is in a cart now: of several that wait, only the newest goes out.

    ``items`` are ``Item`` or dicts of the same names. ``url`` is the address of
    the cart, ``currency`` a code of ISO 4217. ``subtotal`` is computed from the
    items where it is not given, ``total`` from that, ``discount``, ``shipping``
    and ``tax``; and where there is a tax, ``total_before_tax`` too. Where your
    prices include the tax, give ``total`` yourself. Raises ``InvalidEvent``.
    """
    lines = _items(items)
    return Event(
        CART_UPDATED,
        email,
        object_id=_cart(cart_id),
        properties=properties,
        data={
            **_amounts(lines, total, subtotal, discount, shipping, tax, total_before_tax),
            **_present(currency=_currency(currency), url=url, affiliation=affiliation),
            "items": lines,
            **_extra(extra),
        },
        coalesce=True,
        delay=delay,
        expires=expires,
    )


def cart_deleted(email: str, *, cart_id: Id, properties: Mapping[str, Any] | None = None, **extra: Any) -> Event:
    """Tell that a cart is empty or gone: its ``cart_updated`` that still waits does not go out any more."""
    return Event(
        "cart_deleted",
        email,
        object_id=_cart(cart_id),
        properties=properties,
        data={"items": [], **_extra(extra)},
        supersedes=(CART_UPDATED,),
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
    total: Money | None = None,
    subtotal: Money | None = None,
    discount: Money | None = None,
    shipping: Money | None = None,
    tax: Money | None = None,
    total_before_tax: Money | None = None,
    revenue: Money | None = None,
    affiliation: str | None = None,
    discount_code: str | None = None,
    payment_method: str | None = None,
    shipping_method: str | None = None,
    shipping_address: Mapping[str, Any] | None = None,
    billing_address: Mapping[str, Any] | None = None,
    properties: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
    **extra: Any,
) -> Event:
    """
    Tell of an order, once: its ``cart_updated`` that still waits does not go out any more.

    ``order_id`` is the order's number, and the idempotency key too unless one
    is given. Brevo finds the cart by ``cart_id``, and ends its reminders.
    ``date`` is now and ``revenue`` the total where they are not given; the
    other amounts are as with ``cart_updated``. Raises ``InvalidEvent``.
    """
    lines = _items(items)
    amounts = _amounts(lines, total, subtotal, discount, shipping, tax, total_before_tax)
    number = _text(order_id, "order_id")
    return Event(
        "order_completed",
        email,
        object_id=_cart(cart_id),
        properties=properties,
        data={
            "id": order_id,
            "date": timezone.now() if date is None else date,
            **amounts,
            "revenue": amounts["total"] if revenue is None else _amount(revenue, "revenue"),
            **_present(
                currency=_currency(currency),
                url=url,
                affiliation=affiliation,
                discount_code=discount_code,
                payment_method=payment_method,
                shipping_method=shipping_method,
                shipping_address=_address(shipping_address, "shipping_address"),
                billing_address=_address(billing_address, "billing_address"),
            ),
            "items": lines,
            **_extra(extra),
        },
        supersedes=(CART_UPDATED,),
        idempotency_key=number if idempotency_key is None else idempotency_key,
    )


def _amounts(
    items: list[Item],
    total: Money | None,
    subtotal: Money | None,
    discount: Money | None,
    shipping: Money | None,
    tax: Money | None,
    total_before_tax: Money | None,
) -> dict[str, Decimal]:
    amounts: dict[str, Decimal] = _present(
        subtotal=_amount(subtotal, "subtotal"),
        discount=_amount(discount, "discount"),
        shipping=_amount(shipping, "shipping"),
        total_before_tax=_amount(total_before_tax, "total_before_tax"),
        tax=_amount(tax, "tax"),
        total=_amount(total, "total"),
    )
    try:
        return _with_sums(amounts, items)
    except ArithmeticError as error:
        raise InvalidEvent("The amounts are too large, or too finely divided, to be added up.") from error


def _with_sums(amounts: dict[str, Decimal], items: list[Item]) -> dict[str, Decimal]:
    if "subtotal" not in amounts:
        exact = sum((item["price"] * item["quantity"] for item in items), Decimal(0))
        # As fine as the finest price, and no finer: half a metre at 19.99 costs what the till would say.
        digits = max([2, *(min(-_exponent(item["price"]), FINEST) for item in items)])
        amounts["subtotal"] = exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    net = amounts["subtotal"] - amounts.get("discount", 0) + amounts.get("shipping", 0)
    if "tax" in amounts:
        amounts.setdefault("total_before_tax", amounts["total"] - amounts["tax"] if "total" in amounts else net)
    amounts.setdefault("total", amounts.get("total_before_tax", net) + amounts.get("tax", 0))
    return amounts


def _items(items: Iterable[Mapping[str, Any]]) -> list[Item]:
    return [item if isinstance(item, Item) else _described(Item, item, f"items[{n}]") for n, item in enumerate(items)]


def _address(address: Mapping[str, Any] | None, path: str) -> Mapping[str, Any] | None:
    return address if address is None or isinstance(address, Address) else _described(Address, address, path)


def _described(kind: type[Any], fields: Mapping[str, Any], path: str) -> Any:
    if not isinstance(fields, Mapping):
        raise InvalidEvent(f"{path} must be an {kind.__name__} or a dict, not {type(fields).__name__}.")
    try:
        return kind(**fields)
    except InvalidEvent as error:
        raise InvalidEvent(f"{path}.{error}") from error
    except TypeError as error:
        raise InvalidEvent(f"{path}: {error}") from error


def _cart(cart_id: Id) -> str:
    return f"cart:{_text(cart_id, 'cart_id')}"


def _text(value: Id, path: str) -> str:
    if value is None or not str(value).strip():
        raise InvalidEvent(f"{path} must not be empty.")
    return str(value)


def _currency(code: str) -> str:
    if not (isinstance(code, str) and re.fullmatch("[A-Z]{3}", code)):
        raise InvalidEvent(f"currency must be a code of ISO 4217 such as EUR, not {code!r}.")
    return code


def _amount(value: Money | None, path: str) -> Decimal | None:
    return None if value is None else _needed_amount(value, path)


def _needed_amount(value: Money, path: str) -> Decimal:
    amount = Decimal("NaN")
    if isinstance(value, Decimal | int | float | str) and not isinstance(value, bool):
        with suppress(InvalidOperation):
            amount = (
                Decimal(str(value)).quantize(Decimal(1).scaleb(-FINEST)) if isinstance(value, float) else Decimal(value)
            )
    if not amount.is_finite():
        raise InvalidEvent(f"{path} must be an amount such as 19.90, not {value!r}.")
    return amount


def _exponent(amount: Decimal) -> int:
    return int(amount.normalize().as_tuple().exponent)


def _extra(data: dict[str, Any]) -> dict[str, Any]:
    if misplaced := OPTIONS.intersection(data):
        raise TypeError(f"{min(misplaced)} is no option of this event: build an Event of your own to give it.")
    return data


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
