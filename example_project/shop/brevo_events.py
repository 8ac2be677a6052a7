"""The events that Brevo gets about customers, carts and orders. Discovered at start-up, like admin.py."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models.signals import post_delete, post_save
from django.templatetags.static import static

from brevo_events import Event, commerce, identify, snapshot, track_on
from shop.models import CartLine, Customer, Order, OrderLine
from shop.signals import order_placed

CART_DELAY = 2  # seconds; with more visitors, use 60, so that a busy cart is reported once a minute


@track_on(post_save, sender=Customer)
def customer_known(sender: type[Customer], instance: Customer, **kwargs: Any) -> None:
    """Identify a customer as soon as the address is known: Brevo's workflows need a contact that exists."""
    identify(instance.email, {"LANGUAGE": settings.LANGUAGE_CODE, **_attributes(instance)})


@track_on([post_save, post_delete], sender=CartLine)
def cart_changed(sender: type[CartLine], instance: CartLine, **kwargs: Any) -> Event | None:
    """Report a cart's contents, unless the visitor hasn't given an address yet."""
    cart = instance.cart
    if cart.ordered:
        return None
    lines = cart.lines.select_related("product")
    if not lines:
        return commerce.cart_deleted(cart.email, cart_id=cart.pk)
    return commerce.cart_updated(
        cart.email,
        cart_id=cart.pk,
        currency="EUR",
        items=[_item(line, price="product.price") for line in lines],
        shipping=cart.shipping,
        url=settings.SITE_URL + cart.get_absolute_url(),
        properties=_attributes(cart.customer),
        delay=CART_DELAY,
    )


@track_on(order_placed)
def order_completed(sender: type[Order], order: Order, **kwargs: Any) -> Event:
    """Report an order; Brevo uses the ID of its cart to end the reminders."""
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
        properties=_attributes(order.customer),
    )


def _item(line: CartLine | OrderLine, price: str) -> commerce.Item:
    return commerce.Item(
        **snapshot(line, "quantity", price=price, id="product.pk", name="product.name", category="product.category"),
        url=settings.SITE_URL + line.product.get_absolute_url(),
        image=settings.SITE_URL + static(line.product.image),
    )


def _attributes(customer: Customer | None) -> dict[str, str]:
    return {"FIRSTNAME": customer.first_name} if customer and customer.first_name else {}
