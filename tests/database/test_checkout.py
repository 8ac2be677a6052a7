"""What Brevo gets about a cart that is changed, emptied and ordered, in whatever order a shop does that."""

from __future__ import annotations

import itertools

import pytest
from django.db import connection, transaction
from django.db.models.signals import post_delete, post_save
from django.test.utils import CaptureQueriesContext

from brevo_events import commerce, registration, track, track_on
from brevo_events.models import OutboxEvent
from brevo_events.testing import deliver_events
from brevo_events.transports import locmem
from tests.shop.models import Cart, Line

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("by_hand")]

ADA = "ada@example.com"
U, D, O = "cart_updated", "cart_deleted", "order_completed"  # noqa: E741
SEND = "send"


@pytest.fixture
def _watched(monkeypatch):
    """A shop that tells of a cart at each change of a line, as the README shows it."""
    monkeypatch.setattr(registration, "registrations", [])
    kept = {signal: list(signal.receivers) for signal in (post_save, post_delete)}

    @track_on([post_save, post_delete], sender=Line)
    def cart_changed(instance, **kwargs):
        cart = instance.cart
        items = [commerce.Item(name="Lamp", price=1, quantity=line.quantity) for line in cart.lines.all()]
        if not items:
            return commerce.cart_deleted(cart.email, cart_id="x")
        return commerce.cart_updated(cart.email, cart_id="x", currency="EUR", items=items, delay=60)

    yield
    for signal, receivers in kept.items():
        signal.receivers = receivers
        signal.sender_receivers_cache.clear()


@pytest.fixture
def cart(_watched):
    """A cart of ten lines, of which Brevo has been told."""
    cart = Cart.objects.create(email=ADA)
    for _ in range(10):
        Line.objects.create(cart=cart)
    deliver_events()
    assert sent() == [U]
    return cart


def sent():
    return [body["event"] for body in locmem.sent]


def update(**more):
    return track(commerce.cart_updated(ADA, cart_id="x", currency="EUR", items=[], **more))


def delete():
    return track(commerce.cart_deleted(ADA, cart_id="x"))


def order(number=1):
    return track(commerce.order_completed(ADA, cart_id="x", order_id=number, currency="EUR", items=[]))


def one_by_one(cart):
    for line in cart.lines.all():
        line.delete()


EMPTY = {
    "queryset": lambda cart: cart.lines.all().delete(),
    "cascade": lambda cart: cart.delete(),
    "one by one": one_by_one,
}


@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY)
class EmptiedTests:
    def test_tells_once_that_a_cart_is_empty(self, cart, empty):
        empty(cart)
        deliver_events()

        assert sent() == [U, D]
        assert OutboxEvent.objects.filter(name=D).count() == 1

    def test_tells_nothing_of_a_cart_that_is_emptied_because_it_was_ordered(self, cart, empty):
        with transaction.atomic():
            order()
            empty(cart)
        deliver_events()

        assert sent() == [U, O]

    def test_tells_nothing_of_a_cart_that_is_emptied_when_its_order_was_sent_already(self, cart, empty):
        order()
        deliver_events()

        with transaction.atomic():
            empty(cart)
        deliver_events()

        assert sent() == [U, O]

    def test_tells_of_the_order_only_where_the_cart_is_emptied_first(self, cart, empty):
        with transaction.atomic():
            empty(cart)
            order()
        deliver_events()

        assert sent() == [U, O]

    def test_tells_again_that_it_is_empty_once_it_has_been_filled_again(self, cart, empty):
        order()
        cart = Cart.objects.create(email=ADA)  # of the same number: some shops keep one cart for each customer
        Line.objects.create(cart=cart)
        deliver_events()

        empty(cart)
        deliver_events()

        assert sent() == [U, O, U, D]


@pytest.mark.usefixtures("_watched")
class AnonymousTests:
    @pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY)
    def test_tells_nothing_of_a_cart_that_is_nobodys_yet(self, empty):
        cart = Cart.objects.create()
        for _ in range(3):
            Line.objects.create(cart=cart)
        empty(cart)

        assert not OutboxEvent.objects.exists()

    def test_tells_of_the_customers_cart_only_where_another_one_is_merged_into_it(self):
        theirs, anonymous = Cart.objects.create(email=ADA), Cart.objects.create()
        for _ in range(3):
            Line.objects.create(cart=anonymous)
        with transaction.atomic():
            for line in anonymous.lines.all():
                line.cart = theirs
                line.save()
            anonymous.delete()
        deliver_events()

        assert sent() == [U]
        assert [len(body["eventdata"]["data"]["items"]) for body in locmem.sent] == [3]


def run(steps):
    """Do what is told, each step in a transaction of its own; return what was captured and what was sent."""
    numbers = itertools.count()
    acts = {U: lambda: update(delay=60), D: delete, O: lambda: order(next(numbers)), SEND: deliver_events}
    for step in steps:
        acts[step]()
    deliver_events()
    told = sent()
    OutboxEvent.objects.all().delete()
    locmem.sent.clear()
    return [step for step in steps if step != SEND], told


class InterleavingTests:
    @pytest.mark.parametrize("before", [(U, SEND), (O,)], ids=["updated", "ordered"])
    def test_of_every_kind_ends_with_the_truth_and_tells_nothing_needless(self, before):
        for steps in ((*before, *after) for after in itertools.product([U, D, O, SEND], repeat=3)):
            captured, told = run(steps)

            assert told.count(O) == captured.count(O), steps
            # Nobody is told twice that a cart is gone, nor after its order, but where it was filled in between.
            assert not any(later == D and earlier in (D, O) for earlier, later in itertools.pairwise(told)), steps
            assert told[-1] in ((D, O) if captured[-1] == D else (captured[-1],)), steps
            # No reminder after an order, but where the cart was filled again.
            after = told[len(told) - 1 - told[::-1].index(O) :] if O in told else []
            if U in after:
                assert U in captured[len(captured) - 1 - captured[::-1].index(O) :], steps


class CostTests:
    def statements(self, function):
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            function()
        return [query["sql"].split()[0] for query in queries]

    def test_of_a_changed_cart_is_one_statement(self):
        update()

        assert self.statements(update) == ["INSERT"]

    @pytest.mark.skipif(connection.vendor == "mysql", reason="looks its key up first, and supersedes by key")
    def test_of_an_order_is_two(self):
        update()

        assert self.statements(order) == ["INSERT", "UPDATE"]

    @pytest.mark.skipif(connection.vendor == "mysql", reason="supersedes by key")
    def test_of_an_emptied_cart_is_three_and_of_each_further_line_two(self):
        update()

        assert self.statements(delete) == ["SELECT", "INSERT", "UPDATE"]
        assert self.statements(delete) == ["SELECT", "UPDATE"]
