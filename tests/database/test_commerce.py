from __future__ import annotations

import pytest

from brevo_events import track
from brevo_events.commerce import Item, cart_deleted, cart_updated, order_completed
from brevo_events.models import OutboxEvent

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("by_hand")]

ADA = "ada@example.com"


def cart(**more):
    return cart_updated(ADA, **{"cart_id": 1, "currency": "EUR", "items": [Item(name="Lamp", price=50)], **more})


def order(**more):
    values = {"order_id": 1, "cart_id": 1, "currency": "EUR", "items": [Item(name="Lamp", price=50)]}
    return order_completed(ADA, **{**values, **more})


class CaptureTests:
    def states(self):
        return list(OutboxEvent.objects.order_by("pk").values_list("name", "status", "reason"))

    @pytest.mark.parametrize("make", [order, lambda: cart_deleted(ADA, cart_id=1)], ids=["order", "deleted"])
    def test_of_its_end_supersedes_what_waits_of_the_cart(self, make):
        track(cart(delay=60))
        track(cart(cart_id=2))

        track(make())

        assert [status for _, status, _ in self.states()] == ["cancelled", "pending", "pending"]

    def test_of_an_order_is_kept_though_another_event_has_its_number_for_a_key(self):
        track("registered", "eve@example.com", idempotency_key="42")

        assert track(order(order_id=42)) is not None

    def test_of_an_order_is_kept_once_however_often_the_page_is_reloaded(self):
        rows = [track(order(order_id=42)) for _ in range(5)]

        assert rows[1:] == [None] * 4
        assert self.states() == [("order_completed", "pending", "")]

    def test_keeps_the_very_text_that_is_sent(self):
        event = cart(items=[Item(name="x", price=0.1 + 0.2)])
        track(event)

        assert OutboxEvent.objects.get().body == event.json()
