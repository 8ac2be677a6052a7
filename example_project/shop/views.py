"""The shop's views."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from shop import carts, customers
from shop.forms import AddForm, EmailForm, ProductForm, QuantityForm, SignInForm
from shop.models import FREE_SHIPPING_FROM, SHIPPING, Cart, Order, Product

OTHERS = 3  # products


@require_safe
def product_list(request: HttpRequest) -> HttpResponse:
    """Show every product."""
    return render(request, "shop/product_list.html", {"products": Product.objects.all()})


@require_safe
def product_detail(request: HttpRequest, slug: str) -> HttpResponse:
    """Show a product, and the next ones in the shop."""
    product = get_object_or_404(Product, slug=slug)
    products = list(Product.objects.all())
    place = products.index(product)
    context = {
        "product": product,
        "others": [*products[place + 1 :], *products[:place]][:OTHERS],
        "max_quantity": carts.MAX_QUANTITY,
        "shipping": SHIPPING,
        "free_shipping_from": FREE_SHIPPING_FROM,
    }
    return render(request, "shop/product_detail.html", context)


@never_cache
@require_safe
def cart_detail(request: HttpRequest) -> HttpResponse:
    """Show the cart."""
    cart = carts.current(request)
    lines = cart.lines.select_related("product") if cart else []
    return render(request, "shop/cart.html", {"cart": cart, "lines": lines, "max_quantity": carts.MAX_QUANTITY})


@require_POST
def cart_add(request: HttpRequest) -> HttpResponse:
    """Put a product in the cart."""
    form = AddForm(request.POST)
    if form.is_valid():
        product = form.cleaned_data["product"]
        carts.add(carts.get_or_create(request), product, form.cleaned_data["quantity"])
        messages.success(request, _("%(product)s is in your cart.") % {"product": product})
    else:
        messages.error(request, _("Choose a product and a quantity."))
    return redirect("shop:cart")


@require_POST
def cart_update(request: HttpRequest) -> HttpResponse:
    """Change the quantity of a product in the cart."""
    form = QuantityForm(request.POST)
    cart = carts.current(request)
    if cart and form.is_valid():
        carts.set_quantity(cart, form.cleaned_data["product"], form.cleaned_data["quantity"])
        messages.success(request, _("Your cart is up to date."))
    else:
        messages.error(request, _("Choose a product and a quantity."))
    return redirect("shop:cart")


@require_POST
def cart_remove(request: HttpRequest) -> HttpResponse:
    """Take a product out of the cart."""
    form = ProductForm(request.POST)
    cart = carts.current(request)
    if cart and form.is_valid():
        product = form.cleaned_data["product"]
        carts.remove(cart, product)
        messages.success(request, _("%(product)s is no longer in your cart.") % {"product": product})
    return redirect("shop:cart")


@require_POST
def cart_empty(request: HttpRequest) -> HttpResponse:
    """Take everything out of the cart."""
    cart = carts.current(request)
    if cart and cart.lines.exists():
        carts.empty(cart)
        messages.success(request, _("Your cart is empty now."))
    return redirect("shop:cart")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """Show the customer's orders, or let them sign in."""
    form = SignInForm(request.POST or None)
    if form.is_valid():
        carts.welcome(request, customers.get_or_create(form.cleaned_data["email"], form.cleaned_data["first_name"]))
        messages.success(request, _("You are signed in."))
        return redirect("shop:account")
    customer = customers.current(request)
    orders = customer.orders.all() if customer else []
    return render(request, "shop/account.html", {"form": form, "customer": customer, "orders": orders})


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Forget the customer and the cart."""
    customers.sign_out(request)
    carts.forget(request)
    messages.success(request, _("You are signed out."))
    return redirect("shop:products")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def checkout(request: HttpRequest) -> HttpResponse:
    """Review the cart and place the order."""
    cart, customer = carts.current(request), customers.current(request)
    if cart is None or not cart.lines.exists():
        messages.error(request, _("Your cart is empty."))
        return redirect("shop:cart")
    form = EmailForm(request.POST or None)
    if request.method == "POST" and (customer or form.is_valid()):
        carts.welcome(request, customer or customers.get_or_create(form.cleaned_data["email"]))
        return _place_order(request, cart)
    context = {"cart": cart, "lines": cart.lines.select_related("product"), "customer": customer, "form": form}
    return render(request, "shop/checkout.html", context)


@never_cache
@require_safe
def order_detail(request: HttpRequest, number: str) -> HttpResponse:
    """Show an order to the customer who placed it."""
    order = get_object_or_404(Order, number=number, customer=customers.current(request))
    lines = order.lines.select_related("product")
    return render(request, "shop/order_detail.html", {"order": order, "lines": lines})


def _place_order(request: HttpRequest, cart: Cart) -> HttpResponse:
    try:
        order = carts.checkout(cart)
    except carts.NothingToOrder:
        messages.error(request, _("Your cart is empty."))
        return redirect("shop:cart")
    carts.forget(request)
    messages.success(request, _("Your order is placed."))
    return redirect(order)
