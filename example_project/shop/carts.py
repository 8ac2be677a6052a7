"""The visitor's cart, whose ID is in the session.

Every change saves or deletes each line by itself, because receivers listen to the signals of each line.
"""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from shop import customers
from shop.models import Cart, CartLine, Customer, Order, OrderLine, Product
from shop.signals import order_placed

SESSION_KEY = "shop_cart"
MAX_QUANTITY = 99


class NothingToOrder(Exception):
    """The cart is empty, or has already been ordered."""


def current(request: HttpRequest) -> Cart | None:
    """Return the session's open cart, if there is one."""
    cart_id = request.session.get(SESSION_KEY)
    if cart_id is None:
        return None
    return Cart.objects.select_related("customer").filter(pk=cart_id, ordered=False).first()


def get_or_create(request: HttpRequest) -> Cart:
    """Return the session's open cart, creating it if needed."""
    cart = current(request)
    if cart is None:
        cart = Cart.objects.create(customer=customers.current(request))
        request.session[SESSION_KEY] = cart.pk
    return cart


def forget(request: HttpRequest) -> None:
    """Detach the cart from the session."""
    request.session.pop(SESSION_KEY, None)


@transaction.atomic
def add(cart: Cart, product: Product, quantity: int = 1) -> CartLine:
    """Add a product to the cart, on its existing line if there is one."""
    lines = CartLine.objects.select_for_update()
    line, created = lines.get_or_create(cart=cart, product=product, defaults={"quantity": quantity})
    if not created:
        line.quantity = min(line.quantity + quantity, MAX_QUANTITY)
        line.save()
    return line


@transaction.atomic
def set_quantity(cart: Cart, product: Product, quantity: int) -> None:
    """Change a product's quantity in the cart; zero removes it."""
    if quantity < 1:
        remove(cart, product)
        return
    line = cart.lines.select_for_update().filter(product=product).first()
    if line and line.quantity != quantity:
        line.quantity = quantity
        line.save()


@transaction.atomic
def remove(cart: Cart, product: Product) -> None:
    """Take a product out of the cart."""
    for line in cart.lines.filter(product=product):
        line.delete()


@transaction.atomic
def empty(cart: Cart) -> None:
    """Take everything out of the cart."""
    for line in cart.lines.all():
        line.delete()


def welcome(request: HttpRequest, customer: Customer) -> None:
    """Sign a customer in to the session, and give them its cart."""
    customers.sign_in(request, customer)
    if cart := current(request):
        assign(cart, customer)


@transaction.atomic
def assign(cart: Cart, customer: Customer) -> None:
    """Give the cart to a customer."""
    if cart.customer_id == customer.pk:
        return
    cart.customer = customer
    cart.save()
    # The lines don't change, but their receivers now find out whose cart it is.
    for line in cart.lines.all():
        line.save()


@transaction.atomic
def checkout(cart: Cart) -> Order:
    """Turn the cart of a known customer into an order."""
    locked = Cart.objects.select_for_update().filter(pk=cart.pk, ordered=False).first()
    if locked is None or not locked.lines.exists():
        raise NothingToOrder
    order = Order.objects.create(cart=locked, customer=locked.customer, number=_number(locked), total=locked.total)
    for line in locked.lines.select_related("product"):
        OrderLine.objects.create(order=order, product=line.product, quantity=line.quantity, price=line.product.price)
    locked.ordered = True
    locked.save()
    order_placed.send(sender=Order, order=order)
    return order


def _number(cart: Cart) -> str:
    # A cart becomes at most one order, so its own number is as unique as a counter, and needs no lock.
    return f"{timezone.localdate().year}-{cart.pk:06d}"
