"""The visitor, for every template."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import Sum
from django.http import HttpRequest

from shop import carts, customers
from shop.models import Customer


def visitor(request: HttpRequest) -> dict[str, Callable[[], int | Customer | None]]:
    """Provide the number of articles in the cart, and the customer."""

    # Functions, so that the values are only looked up by templates that show them.
    def cart_count() -> int:
        cart = carts.current(request)
        return cart.lines.aggregate(count=Sum("quantity"))["count"] or 0 if cart else 0

    return {"cart_count": cart_count, "current_customer": lambda: customers.current(request)}
