"""A visitor who shops through the pages, including forms and CSRF tokens, as a browser would."""

from __future__ import annotations

import re
from typing import Any

from django.test import Client
from django.urls import reverse

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


class Visitor:
    """A visitor of the shop's pages, who submits its forms."""

    def __init__(self) -> None:
        self._client = Client(enforce_csrf_checks=True, SERVER_NAME="127.0.0.1")

    def sign_in(self, first_name: str, email: str) -> None:
        """Sign in with a name and an address."""
        self._send("account", "account", first_name=first_name, email=email)

    def add(self, slug: str, quantity: int = 1) -> None:
        """Put a product into the cart, from its page."""
        self._send(reverse("shop:product", args=[slug]), "cart-add", product=slug, quantity=quantity)

    def change(self, slug: str, quantity: int) -> None:
        """Change a quantity, on the cart's page."""
        self._send("cart", "cart-update", product=slug, quantity=quantity)

    def check_out(self, **fields: str) -> None:
        """Place the order; a stranger gives an ``email``."""
        self._send("checkout", "checkout", **fields)

    def _send(self, page: str, action: str, **fields: Any) -> None:
        address = page if page.startswith("/") else reverse(f"shop:{page}")
        token = _TOKEN.search(self._client.get(address).content.decode())
        if token is None:
            raise RuntimeError(f"{address} has no form to send.")
        response = self._client.post(reverse(f"shop:{action}"), {"csrfmiddlewaretoken": token[1], **fields})
        if response.status_code != 302:
            raise RuntimeError(f"{action} was answered with {response.status_code}.")
