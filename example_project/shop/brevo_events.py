"""Tell Brevo what happens to carts and orders: found at start-up, as admin.py is."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models.signals import post_delete, post_save
from django.templatetags.static import static

from brevo_events import Event, snapshot, track_on
from shop.models import Cart, CartLine, Order, OrderLine
from shop.signals import order_placed


@track_on([post_save, post_delete], sender=CartLine)
def cart_changed(sender: type[CartLine], instance: CartLine, **kwargs: Any) -> Event | None:
    """Tell of a cart's content, once it is known whose cart it is."""
    cart = instance.cart
    if not cart.email or cart.ordered:
        return None
    if not cart.lines.exists():
        # Nobody has to be reminded of an empty cart.
        return Event("cart_deleted", cart.email, object_id=f"cart:{cart.pk}", data={"items": []})
    return Event(
        "cart_updated",
        cart.email,
        object_id=f"cart:{cart.pk}",
        properties=_properties(cart),
        data={
            **_amounts(cart),
            "url": settings.SITE_URL + cart.get_absolute_url(),
            "items": [_item(line, price="product.price") for line in cart.lines.select_related("product")],
        },
    )


@track_on(order_placed)
def order_completed(sender: type[Order], order: Order, **kwargs: Any) -> Event:
    """Tell of an order; by the id of its cart, Brevo ends the reminders."""
    return Event(
        "order_completed",
        order.customer.email,
        object_id=f"cart:{order.cart_id}",
        properties=_properties(order.cart),
        data={
            **_amounts(order),
            **snapshot(order, id="number", date="placed_at", revenue="total"),
            "url": settings.SITE_URL + order.get_absolute_url(),
            "items": [_item(line, price="price") for line in order.lines.select_related("product")],
        },
    )


def _amounts(owner: Cart | Order) -> dict[str, Any]:
    return {**snapshot(owner, "subtotal", "shipping", "total"), "currency": "EUR"}


def _item(line: CartLine | OrderLine, price: str) -> dict[str, Any]:
    item = snapshot(line, "quantity", price=price, id="product.pk", name="product.name", category="product.category")
    item["url"] = settings.SITE_URL + line.product.get_absolute_url()
    item["image"] = settings.SITE_URL + static(line.product.image)
    return item


def _properties(cart: Cart) -> dict[str, str]:
    return {"FIRSTNAME": cart.customer.first_name} if cart.customer and cart.customer.first_name else {}
