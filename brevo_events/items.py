from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, TypedDict, TypeVar, Unpack

from brevo_events.exceptions import InvalidEvent
from brevo_events.money import Money, amount, needed_amount

Id: TypeAlias = Any  # an int, a str or a UUID
Kind = TypeVar("Kind", bound="Item | Address")

MAX_ITEMS = 2000  # more wouldn't fit into a body


class ItemFields(TypedDict, total=False):
    """The fields that an ``Item`` may have besides its name, price and quantity."""

    id: Id | None
    sku: str | None
    category: str | None
    variant_id: Id | None
    variant_name: str | None
    tax: Money | None
    url: str | None
    image: str | None


class AddressFields(TypedDict, total=False):
    """The fields that an ``Address`` may have."""

    firstname: str | None
    lastname: str | None
    company: str | None
    phone: str | None
    address1: str | None
    address2: str | None
    city: str | None
    country: str | None
    state: str | None
    zipcode: str | None


class Item(dict[str, Any]):
    """
    One line of a cart or an order, as the dict that is sent to Brevo.

    ``price`` is the price of one unit. The other fields are ``id``, ``sku``,
    ``category``, ``variant_id``, ``variant_name``, ``tax``, ``url`` and
    ``image``. Brevo's own mail template uses ``name``, ``price``, ``quantity``,
    ``url`` and ``image``; the last two must be absolute URLs. Raises
    ``InvalidEvent`` for an invalid amount.
    """

    def __init__(self, *, name: str, price: Money, quantity: Money = 1, **fields: Unpack[ItemFields]) -> None:
        price, quantity = needed_amount(price, "price"), needed_amount(quantity, "quantity")
        tax = amount(fields.pop("tax", None), "tax")
        super().__init__(present(name=name, quantity=quantity, price=price, tax=tax, **fields))


class Address(dict[str, Any]):
    """
    A shipping or billing address, as the dict that is sent to Brevo.

    The fields are ``firstname``, ``lastname``, ``company``, ``phone``,
    ``address1``, ``address2``, ``city``, ``country``, ``state`` and
    ``zipcode``.
    """

    def __init__(self, **fields: Unpack[AddressFields]) -> None:
        super().__init__(present(**fields))


def as_items(items: Iterable[Mapping[str, Any]]) -> list[Item]:
    """Return an ``Item`` for each item, or dict with the same names."""
    try:
        each = iter(items)
    except TypeError as error:
        raise InvalidEvent(f"items must be a list of Item or dicts, not {type(items).__name__}.") from error
    found = []
    for number, item in enumerate(each):
        if number == MAX_ITEMS:
            raise InvalidEvent(f"items holds more than {MAX_ITEMS}: send fewer.")
        found.append(_as(Item, item, f"items[{number}]"))
    return found


def as_address(address: Mapping[str, Any] | None, path: str) -> Address | None:
    """Return an ``Address`` for an address, or dict with the same names."""
    return None if address is None else _as(Address, address, path)


def present(**values: Any) -> dict[str, Any]:
    """Return the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def _as(kind: type[Kind], fields: Mapping[str, Any], path: str) -> Kind:
    if not isinstance(fields, Mapping):
        raise InvalidEvent(f"{path} must be an {kind.__name__} or a dict, not {type(fields).__name__}.")
    try:
        return kind(**fields)
    except InvalidEvent as error:
        raise InvalidEvent(f"{path}.{error}") from error
    except TypeError as error:
        raise InvalidEvent(f"{path}: {error}") from error
