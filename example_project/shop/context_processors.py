"""Tell every template who visits."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import Sum
from django.http import HttpRequest

from brevo_events.models import OutboxEvent
from shop import brevo, carts, customers, panel
from shop.models import Customer


def visitor(request: HttpRequest) -> dict[str, Callable[[], int | Customer | None]]:
    """Offer the number of articles in the cart, and the customer."""

    # Functions, so that only a template that shows the values looks them up.
    def cart_count() -> int:
        cart = carts.current(request)
        return cart.lines.aggregate(count=Sum("quantity"))["count"] or 0 if cart else 0

    return {"cart_count": cart_count, "current_customer": lambda: customers.current(request)}


def brevo_panel(request: HttpRequest) -> dict[str, Callable[[], list[OutboxEvent] | bool]]:
    """Offer the visitor's latest events, to show beside the page what Brevo is told, and whether a fake one is."""
    return {"brevo_events": lambda: panel.latest(request), "is_brevo_fake": brevo.is_fake}
