from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, TypeAlias, TypedDict

from brevo_events.encoding import plain_number, plain_text, shown
from brevo_events.exceptions import InvalidEvent

Money: TypeAlias = Decimal | int | float | str

MAX_DECIMALS = 6  # decimal places of an amount: rounding errors of floats and divisions are smaller
MAX_TEXT = 100  # characters of an amount given as a string; Decimal() is slow with millions
MAX_BITS = 4096  # of an amount given as an int


class Amounts(TypedDict, total=False):
    """
    The totals of a cart or an order.

    ``subtotal`` is the sum of the items. ``total`` is the subtotal minus
    ``discount``, plus ``shipping`` and ``tax``; ``total_before_tax`` is without
    the tax.
    """

    total: Money | None
    subtotal: Money | None
    discount: Money | None
    shipping: Money | None
    tax: Money | None
    total_before_tax: Money | None


def amount(value: Money | None, path: str) -> Decimal | None:
    """Return an amount of money, or None if it isn't given; raises ``InvalidEvent`` if it is invalid."""
    return None if value is None else needed_amount(value, path)


def needed_amount(value: Money, path: str) -> Decimal:
    """Return a required amount, with at most six decimal places if it was a float."""
    found = Decimal("NaN")
    with suppress(InvalidOperation, TypeError, ValueError):
        found = _decimal(value)
    if not found.is_finite():
        raise InvalidEvent(f"{path} must be an amount such as 19.90, not {shown(value)}.")
    return found


def sums(given: Mapping[str, Any], lines: Iterable[Mapping[str, Decimal]], *, tax_included: bool) -> dict[str, Decimal]:
    """Return the given ``Amounts``, and those that follow from them and from the prices and quantities."""
    known = {name: amount(given[name], name) for name in Amounts.__annotations__ if given.get(name) is not None}
    try:
        return _added_up(known, list(lines), tax_included)  # type: ignore[arg-type]
    except ArithmeticError as error:
        raise InvalidEvent("The amounts are too large, or too finely divided, to be added up.") from error


def _added_up(known: dict[str, Decimal], lines: list[Mapping[str, Decimal]], tax_included: bool) -> dict[str, Decimal]:
    if "subtotal" not in known:
        exact = sum((line["price"] * line["quantity"] for line in lines), Decimal(0))
        # With as many decimal places as the most precise price: half a metre at 19.99 costs what the till would say.
        digits = max([2, *(min(-_exponent(line["price"]), MAX_DECIMALS) for line in lines)])
        known["subtotal"] = exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    plain = known["subtotal"] - known.get("discount", 0) + known.get("shipping", 0)
    if tax_included:
        known.setdefault("total", plain)
    if "tax" in known:
        known.setdefault("total_before_tax", known["total"] - known["tax"] if "total" in known else plain)
    known.setdefault("total", known.get("total_before_tax", plain) + known.get("tax", 0))
    return known


def _decimal(value: Money) -> Decimal:
    if isinstance(value, Decimal):
        return Decimal(value)
    number = plain_text(value) if isinstance(value, str) else plain_number(value)
    if isinstance(number, float):
        return Decimal(repr(number)).quantize(Decimal(1).scaleb(-MAX_DECIMALS))
    is_too_long = len(number) > MAX_TEXT if isinstance(number, str) else number.bit_length() > MAX_BITS
    if is_too_long or isinstance(value, bool):
        raise ValueError
    return Decimal(number)


def _exponent(value: Decimal) -> int:
    return int(value.normalize().as_tuple().exponent)
