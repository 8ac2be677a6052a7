"""Tell Brevo what happens to carts and orders: found at start-up, as admin.py is."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models.signals import post_delete, post_save
from django.templatetags.static import static

from brevo_events import Event, commerce, snapshot, track_on
from shop.models import Cart, CartLine, Order, OrderLine
from shop.signals import order_placed

CART_DELAY = 2  # seconds; a shop with more visitors takes 60, so that a busy cart is told of once a minute


@track_on([post_save, post_delete], sender=CartLine)
def cart_changed(sender: type[CartLine], instance: CartLine, **kwargs: Any) -> Event | None:
    """Tell of a cart's content, once it is known whose cart it is."""
    cart = instance.cart
    if not cart.email or cart.ordered:
        return None
    lines = cart.lines.select_related("product")
    if not lines:
        # Nobody has to be reminded of an empty cart.
        return commerce.cart_deleted(cart.email, cart_id=cart.pk)
    return commerce.cart_updated(
        cart.email,
        cart_id=cart.pk,
        currency="EUR",
        items=[_item(line, price="product.price") for line in lines],
        shipping=cart.shipping,
        url=settings.SITE_URL + cart.get_absolute_url(),
        properties=_properties(cart),
        delay=CART_DELAY,
    )


@track_on(order_placed)
def order_completed(sender: type[Order], order: Order, **kwargs: Any) -> Event:
    """Tell of an order; by the id of its cart, Brevo ends the reminders."""
    return commerce.order_completed(
        order.customer.email,
        cart_id=order.cart_id,
        order_id=order.number,
        date=order.placed_at,
        currency="EUR",
        items=[_item(line, price="price") for line in order.lines.select_related("product")],
        shipping=order.shipping,
        total=order.total,
        url=settings.SITE_URL + order.get_absolute_url(),
        properties=_properties(order.cart),
    )


def _item(line: CartLine | OrderLine, price: str) -> commerce.Item:
    return commerce.Item(
        **snapshot(line, "quantity", price=price, id="product.pk", name="product.name", category="product.category"),
        url=settings.SITE_URL + line.product.get_absolute_url(),
        image=settings.SITE_URL + static(line.product.image),
    )


def _properties(cart: Cart) -> dict[str, str]:
    return {"FIRSTNAME": cart.customer.first_name} if cart.customer and cart.customer.first_name else {}
