"""Made-up visits to the shop, and the events captured then: bodies as in ``shop.brevo_events``."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import count
from typing import Any

from django.conf import settings
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone

from brevo_events import Event, commerce
from brevo_events.addresses import contact_hash
from shop.models import FREE_SHIPPING_FROM, SHIPPING, Product

DAYS = 30
VISITS = 1250  # about 3,000 events
FIRST_CART = 100_001  # far above the numbers of the shop's own carts
CAMPAIGN = timedelta(days=6)  # ago: the evening when a newsletter brought many more visitors
JUST_NOW = timedelta(seconds=1)  # ago: the last visit
STUCK_MINUTES = (6, 17, 33, 58, 96, 150)  # ago: the visits whose events still wait for a retry

BY_HOUR = (2, 1, 1, 1, 1, 2, 4, 8, 11, 13, 14, 15, 18, 16, 13, 12, 13, 15, 19, 23, 25, 21, 13, 6)
BY_WEEKDAY = (9, 8, 9, 10, 11, 14, 15)  # from Monday on

_FIRST_NAMES = (
    *("Alma", "Basile", "Celia", "Diego", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Karin", "Leila"),
    *("Marta", "Nils", "Odile", "Pablo", "Quentin", "Rosa", "Sami", "Tove", "Ugo", "Vera", "Wim", "Yara"),
)
_LAST_NAMES = ("berg", "costa", "durand", "keller", "moreau")
_DOMAINS = ("example.com", "example.org")


@dataclass(frozen=True)
class Captured:
    """One event and its capture time; Brevo doesn't accept a stuck one, and accepts a smooth one at once."""

    at: datetime
    event: Event
    is_stuck: bool = False
    is_smooth: bool = False


def contacts() -> list[str]:
    """Return by which contacts the made-up events are known."""
    return [contact_hash(email) for _first_name, email in _customers()]


def month(chance: random.Random, now: datetime) -> list[Captured]:
    """Return what was captured in the month before now, oldest first."""
    products = list(Product.objects.order_by("pk"))
    carts = count(FIRST_CART)
    regulars, stuck = _customers()[: -len(STUCK_MINUTES)], _customers()[-len(STUCK_MINUTES) :]
    last = regulars.pop()
    captured = []
    for start in _starts(chance, now):
        visit = Visit(next(carts), *chance.choice(regulars))
        captured += visit.events(chance, start, products)
    for minutes, customer in zip(STUCK_MINUTES, stuck, strict=True):
        visit = Visit(next(carts), *customer)
        visit.put(chance.choice(products), 1)
        captured.append(Captured(now - timedelta(minutes=minutes), visit.cart_updated(), is_stuck=True))
    # The month ends without failures: after failures of several contacts, the first failure in the shop would be an
    # outage.
    visit = Visit(next(carts), *last)
    visit.put(products[0], 1)
    captured.append(Captured(now - JUST_NOW, visit.cart_updated(), is_smooth=True))
    return sorted((item for item in captured if item.at < now), key=lambda item: item.at)


class Visit:
    """One customer's cart, from the first product to an order, an empty cart, or neither."""

    def __init__(self, cart: int, first_name: str, email: str) -> None:
        self._cart, self._first_name, self._email = cart, first_name, email
        self._lines: dict[Product, int] = {}

    def put(self, product: Product, quantity: int) -> None:
        """Put a product in the cart."""
        self._lines[product] = quantity

    def events(self, chance: random.Random, start: datetime, products: list[Product]) -> Iterator[Captured]:
        """Yield the events captured during the visit."""
        moment = start
        for product in chance.sample(products, chance.choices((1, 2, 3, 4), (5, 4, 2, 1))[0]):
            self.put(product, chance.choice((1, 1, 1, 2, 3)))
            yield Captured(moment, self.cart_updated())
            moment += timedelta(seconds=chance.uniform(20, 400))
        end = chance.random()
        if end < 0.48:
            yield Captured(moment, self.order_completed(moment))
        elif end < 0.56:
            yield Captured(moment, self.cart_deleted())

    def cart_updated(self) -> Event:
        """Return the event of a change in the cart."""
        return commerce.cart_updated(self._email, **self._content(reverse("shop:cart")))

    def cart_deleted(self) -> Event:
        """Return the event of a cart that was emptied."""
        return commerce.cart_deleted(self._email, cart_id=self._cart)

    def order_completed(self, at: datetime) -> Event:
        """Return the event of the order that the cart becomes."""
        number = f"{timezone.localtime(at).year}-{self._cart:06d}"
        content = self._content(reverse("shop:order", args=[number]))
        return commerce.order_completed(self._email, order_id=number, date=at, **content)

    def _content(self, path: str) -> dict[str, Any]:
        items = [_item(product, quantity) for product, quantity in self._lines.items()]
        subtotal = sum((product.price * quantity for product, quantity in self._lines.items()), Decimal("0.00"))
        return {
            "cart_id": self._cart,
            "currency": "EUR",
            "items": items,
            "shipping": SHIPPING if subtotal < FREE_SHIPPING_FROM else Decimal("0.00"),
            "url": settings.SITE_URL + path,
            "properties": {"FIRSTNAME": self._first_name},
        }


def _starts(chance: random.Random, now: datetime) -> list[datetime]:
    hours = [now - timedelta(hours=hours) for hours in range(24 * DAYS, 0, -1)]
    campaign = timezone.localtime(now - CAMPAIGN).date()
    begun = chance.choices(hours, [_bustle(timezone.localtime(hour), campaign) for hour in hours], k=VISITS)
    return sorted(hour + timedelta(seconds=chance.uniform(0, 3600)) for hour in begun)


def _bustle(hour: datetime, campaign: date) -> float:
    bustle = BY_HOUR[hour.hour] * BY_WEEKDAY[hour.weekday()]
    return 8 * bustle if hour.date() == campaign and 18 <= hour.hour <= 20 else bustle


@cache
def _customers() -> list[tuple[str, str]]:
    names = [(first, last) for last in _LAST_NAMES for first in _FIRST_NAMES]
    return [
        (first, f"{first.lower()}.{last}@{_DOMAINS[number % len(_DOMAINS)]}")
        for number, (first, last) in enumerate(names)
    ]


def _item(product: Product, quantity: int) -> commerce.Item:
    return commerce.Item(
        id=product.pk,
        name=product.name,
        category=product.category,
        quantity=quantity,
        price=product.price,
        url=settings.SITE_URL + product.get_absolute_url(),
        image=settings.SITE_URL + static(product.image),
    )
