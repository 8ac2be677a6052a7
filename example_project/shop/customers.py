"""The visitor's name and address, without any proof: this is a demonstration."""

from __future__ import annotations

from django.http import HttpRequest

from shop.models import Customer

SESSION_KEY = "shop_customer"


def current(request: HttpRequest) -> Customer | None:
    """Return the customer signed in to the session, if there is one."""
    customer_id = request.session.get(SESSION_KEY)
    if customer_id is None:
        return None
    return Customer.objects.filter(pk=customer_id).first()


def get_or_create(email: str, first_name: str = "") -> Customer:
    """Return the customer with this address, with an updated name."""
    customer, created = Customer.objects.get_or_create(email=email.lower(), defaults={"first_name": first_name})
    if not created and first_name and customer.first_name != first_name:
        customer.first_name = first_name
        customer.save()
    return customer


def sign_in(request: HttpRequest, customer: Customer) -> None:
    """Remember the customer in the session."""
    request.session.cycle_key()
    request.session[SESSION_KEY] = customer.pk


def sign_out(request: HttpRequest) -> None:
    """Forget the customer, but not an administrator in the same session."""
    request.session.pop(SESSION_KEY, None)
