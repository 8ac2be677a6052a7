from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from uuid import UUID

import pytest
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy

from brevo_events import Event, commerce, snapshot
from brevo_events.commerce import Address, Item, cart_deleted, cart_updated, order_completed
from brevo_events.exceptions import InvalidEvent
from tests.shop.models import Cart, Line, Product
from tests.values import nested

ADA = "ada@example.com"

AMOUNTS = ("subtotal", "discount", "shipping", "total_before_tax", "tax", "total")

# What Brevo is to be sent, written by hand after the contract: never the code's own output.
SHIRT = {
    "id": 7,
    "sku": "TS-W-M",
    "name": "White shirt",
    "category": "Clothes",
    "variant_id": 70,
    "variant_name": "M",
    "quantity": 2,
    "price": 19.9,
    "tax": 3.32,
    "url": "https://shop.example.com/shirt",
    "image": "https://shop.example.com/shirt.png",
}
LAMP = {"name": "Lamp", "quantity": 1, "price": 50}
CART = {
    "email": "ada@example.com",
    "event": "cart_updated",
    "properties": {"FIRSTNAME": "Ada"},
    "eventdata": {
        "id": "cart:1234",
        "data": {
            "total": 104.76,
            "subtotal": 89.8,
            "discount": 5,
            "shipping": 4.5,
            "tax": 15.46,
            "total_before_tax": 89.3,
            "currency": "EUR",
            "url": "https://shop.example.com/cart",
            "affiliation": "Shop of Ada",
            "items": [SHIRT, LAMP],
        },
    },
}
ADDRESS = {
    "firstname": "Ada",
    "lastname": "Lovelace",
    "company": "Analytical Engines",
    "phone": "+33600000000",
    "address1": "12 rue de la Paix",
    "address2": "3rd floor",
    "city": "Paris",
    "country": "FR",
    "state": "IDF",
    "zipcode": "75002",
}
ORDER = {
    "email": "ada@example.com",
    "event": "order_completed",
    "properties": {"FIRSTNAME": "Ada"},
    "eventdata": {
        "id": "cart:1234",
        "data": {
            "id": "2026-0042",
            "date": "2026-05-04T10:20:30+00:00",
            "total": 104.76,
            "subtotal": 89.8,
            "discount": 5,
            "shipping": 4.5,
            "tax": 15.46,
            "total_before_tax": 89.3,
            "revenue": 104.76,
            "currency": "EUR",
            "url": "https://shop.example.com/orders/42",
            "affiliation": "Shop of Ada",
            "discount_code": "MAY",
            "payment_method": "card",
            "shipping_method": "post",
            "shipping_address": ADDRESS,
            "billing_address": {"lastname": "Babbage", "country": "GB"},
            "items": [SHIRT, LAMP],
        },
    },
}


class Fee(float):
    def __str__(self):
        return "free"

    __repr__ = __str__


def shirt(**more):
    return Item(
        id=7,
        sku="TS-W-M",
        name="White shirt",
        category="Clothes",
        variant_id=70,
        variant_name="M",
        quantity=2,
        price=Decimal("19.90"),
        tax=Decimal("3.32"),
        url="https://shop.example.com/shirt",
        image="https://shop.example.com/shirt.png",
        **more,
    )


def lamp():
    return Item(name="Lamp", price="50.00")


def changed(item, **values):
    item.update(values)
    return item


def address():
    return Address(
        firstname="Ada",
        lastname="Lovelace",
        company="Analytical Engines",
        phone="+33600000000",
        address1="12 rue de la Paix",
        address2="3rd floor",
        city="Paris",
        country="FR",
        state="IDF",
        zipcode="75002",
    )


def cart(items=(), **more):
    return cart_updated(ADA, **{"cart_id": 1, "currency": "EUR", "items": items, **more})


def order(items=(), **more):
    given = {"cart_id": 1, "order_id": "A1", "currency": "EUR", "items": items, "date": dt.date(2026, 5, 4)}
    return order_completed(ADA, **{**given, **more})


def sent(event):
    """Return the data as Brevo reads it from the bytes on the wire."""
    return json.loads(event.json())["eventdata"]["data"]


def amounts(event):
    return {name: value for name, value in sent(event).items() if name in AMOUNTS}


def refused(make, *arguments, **named):
    with pytest.raises(InvalidEvent) as caught:
        make(*arguments, **named)
    return str(caught.value)


class NamesTests:
    def test_are_listed(self):
        assert commerce.__all__ == ["Address", "Item", "cart_deleted", "cart_updated", "order_completed"]


class CartUpdatedTests:
    def test_is_the_body_of_the_contract(self):
        event = cart_updated(
            ADA,
            cart_id=1234,
            items=[shirt(), lamp()],
            currency="EUR",
            url="https://shop.example.com/cart",
            discount=5,
            shipping="4.50",
            tax=Decimal("15.46"),
            affiliation="Shop of Ada",
            properties={"FIRSTNAME": "Ada"},
        )

        assert event.body() == CART
        assert json.loads(event.json()) == CART

    def test_needs_little_and_leaves_the_rest_out(self):
        event = cart([lamp()])

        assert event.body() == {
            "email": "ada@example.com",
            "event": "cart_updated",
            "eventdata": {
                "id": "cart:1",
                "data": {
                    "subtotal": 50,
                    "total": 50,
                    "currency": "EUR",
                    "items": [{"name": "Lamp", "quantity": 1, "price": 50}],
                },
            },
        }

    def test_of_an_empty_cart_costs_nothing(self):
        assert sent(cart([])) == {"subtotal": 0, "total": 0, "currency": "EUR", "items": []}

    @pytest.mark.parametrize("email", [None, ""])
    def test_of_an_anonymous_visitor_is_none_and_reads_no_items(self, email):
        items = (pytest.fail("read") for _ in "x")

        assert cart_updated(email, cart_id=1, currency="EUR", items=items) is None

    def test_coalesces_and_supersedes_nothing(self):
        event = cart()

        assert isinstance(event, Event)
        assert (event.coalesce, event.supersedes, event.idempotency_key) == (True, (), None)
        assert (event.delay, event.expires) == (None, None)

    def test_takes_delay_and_expires(self):
        event = cart(delay=60, expires=dt.timedelta(hours=1))

        assert (event.delay, event.expires) == (60, 3600)
        assert sent(event) == sent(cart())

    def test_is_one_with_those_of_the_same_cart_only(self):
        key = cart([lamp()]).coalesce_key

        assert cart(delay=60).coalesce_key == key
        assert cart(cart_id="1").coalesce_key == key
        assert cart(cart_id=2).coalesce_key != key

    def test_carries_what_a_shop_adds(self):
        event = cart(added_product=[{"name": "Lamp"}], note=None, count=Decimal(3))

        assert sent(event)["added_product"] == [{"name": "Lamp"}]
        assert (sent(event)["note"], sent(event)["count"]) == (None, 3)

    def test_takes_everything_but_the_address_by_name(self):
        with pytest.raises(TypeError):
            cart_updated(ADA, 1, [], "EUR")
        with pytest.raises(TypeError, match="currency"):
            cart_updated(ADA, cart_id=1, items=[])


class CartDeletedTests:
    def test_is_the_body_of_the_contract(self):
        event = cart_deleted(ADA, cart_id=1234, properties={"FIRSTNAME": "Ada"})

        assert event.body() == {
            "email": "ada@example.com",
            "event": "cart_deleted",
            "properties": {"FIRSTNAME": "Ada"},
            "eventdata": {"id": "cart:1234", "data": {"items": []}},
        }

    def test_supersedes_what_was_told_of_the_cart(self):
        event = cart_deleted(ADA, cart_id=1)

        assert (event.supersedes, event.object_id) == (("cart_updated",), cart().object_id)
        assert (event.coalesce, event.idempotency_key) == (True, None)
        assert event.implied_by == ("order_completed", "cart_deleted")

    @pytest.mark.parametrize("email", [None, ""])
    def test_of_an_anonymous_visitor_is_none(self, email):
        assert cart_deleted(email, cart_id=1) is None

    def test_carries_what_a_shop_adds(self):
        assert sent(cart_deleted(ADA, cart_id=1, why="sold out")) == {"items": [], "why": "sold out"}


class OrderCompletedTests:
    def test_is_the_body_of_the_contract(self):
        event = order_completed(
            ADA,
            cart_id=1234,
            order_id="2026-0042",
            date=dt.datetime(2026, 5, 4, 10, 20, 30, tzinfo=dt.UTC),
            items=[shirt(), lamp()],
            currency="EUR",
            url="https://shop.example.com/orders/42",
            discount="5",
            shipping=4.5,
            tax=15.46,
            affiliation="Shop of Ada",
            discount_code="MAY",
            payment_method="card",
            shipping_method="post",
            shipping_address=address(),
            billing_address={"lastname": "Babbage", "country": "GB"},
            properties={"FIRSTNAME": "Ada"},
        )

        assert event.body() == ORDER
        assert json.loads(event.json()) == ORDER

    def test_needs_little_and_leaves_the_rest_out(self):
        assert sent(order([lamp()])) == {
            "id": "A1",
            "date": "2026-05-04",
            "subtotal": 50,
            "total": 50,
            "revenue": 50,
            "currency": "EUR",
            "items": [{"name": "Lamp", "quantity": 1, "price": 50}],
        }

    def test_is_dated_now_with_an_offset_where_no_date_is_given(self):
        date = dt.datetime.fromisoformat(sent(order(date=None))["date"])

        assert date.utcoffset() is not None
        assert abs(date - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)

    @pytest.mark.parametrize(
        ("date", "text"),
        [
            (dt.date(2026, 5, 4), "2026-05-04"),
            (dt.datetime(2026, 5, 4, 12, 0), "2026-05-04T12:00:00+02:00"),
            (dt.datetime(2026, 5, 4, 12, 0, tzinfo=dt.UTC), "2026-05-04T12:00:00+00:00"),
        ],
    )
    def test_is_dated_in_iso_8601(self, date, text):
        assert sent(order(date=date))["date"] == text

    @pytest.mark.parametrize(("revenue", "expected"), [(None, 50), (0, 0), ("41.66", 41.66)])
    def test_has_the_total_as_revenue_unless_told_otherwise(self, revenue, expected):
        assert sent(order([lamp()], revenue=revenue))["revenue"] == expected
        assert sent(order([lamp()], revenue=revenue))["total"] == 50

    def test_has_the_total_that_was_given_as_revenue(self):
        assert sent(order([lamp()], total=60))["revenue"] == 60

    def test_supersedes_what_was_told_of_the_cart(self):
        event = order()

        assert (event.supersedes, event.object_id) == (("cart_updated", "cart_deleted"), cart().object_id)
        assert (event.coalesce, event.delay, event.expires) == (False, None, None)

    @pytest.mark.parametrize(
        ("order_id", "number"),
        [("2026-0042", "2026-0042"), (42, 42), (UUID(int=1), "00000000-0000-0000-0000-000000000001"), (0, 0)],
        ids=str,
    )
    def test_takes_the_order_number_as_its_key_which_no_other_event_has_by_chance(self, order_id, number):
        event = order(order_id=order_id)

        assert event.idempotency_key == f"order_completed:{number}"
        assert sent(event)["id"] == number

    def test_takes_the_key_that_it_is_given_instead(self):
        event = order(order_id=42, idempotency_key="shop:42")

        assert event.idempotency_key == "shop:42"
        assert sent(event) == sent(order(order_id=42))

    @pytest.mark.parametrize("email", [None, ""])
    def test_is_somebodys(self, email):
        with pytest.raises(InvalidEvent, match=r"^email must"):
            order_completed(email, cart_id=1, order_id=1, currency="EUR", items=[])

    def test_refuses_a_key_that_is_empty(self):
        assert refused(order, idempotency_key="") == "idempotency_key must not be empty."

    def test_carries_what_a_shop_adds(self):
        assert sent(order(gift=True, points=Decimal("1.5")))["points"] == 1.5


class AddressTests:
    def test_has_the_names_of_the_contract(self):
        assert dict(address()) == ADDRESS

    def test_leaves_out_what_is_not_given_and_carries_what_is_added(self):
        assert Address(city="Paris", state=None, company="", door="B") == {"city": "Paris", "company": "", "door": "B"}

    @pytest.mark.parametrize("name", ["shipping_address", "billing_address"])
    def test_may_be_a_dict(self, name):
        assert sent(order(**{name: {"city": "Paris", "state": None}}))[name] == {"city": "Paris"}
        assert name not in sent(order(**{name: None}))

    @pytest.mark.parametrize("name", ["shipping_address", "billing_address"])
    @pytest.mark.parametrize("value", ["12 rue de la Paix", ["Paris"], 5], ids=str)
    def test_of_another_type_is_refused(self, name, value):
        expected = f"{name} must be an Address or a dict, not {type(value).__name__}."

        assert refused(order, **{name: value}) == expected

    def test_that_json_cannot_carry_is_refused_with_its_path(self):
        message = refused(order, shipping_address=Address(city=object()))

        assert message.startswith("data.shipping_address.city is of type object, which JSON cannot carry")


class ItemTests:
    def test_has_the_names_of_the_contract(self):
        assert sent(cart([shirt()]))["items"] == [SHIRT]

    def test_needs_a_name_and_a_price_and_leaves_the_rest_out(self):
        assert sent(cart([lamp()]))["items"] == [LAMP]
        with pytest.raises(TypeError, match="price"):
            Item(name="Lamp")
        with pytest.raises(TypeError, match="name"):
            Item(price=1)
        with pytest.raises(TypeError):
            Item("Lamp", 1)

    def test_carries_what_a_shop_adds(self):
        assert sent(cart([Item(name="Lamp", price=1, colour="red")]))["items"][0]["colour"] == "red"

    @pytest.mark.parametrize(
        ("key", "value"), [("id", UUID(int=1)), ("variant_id", UUID(int=1)), ("name", gettext_lazy("Lamp"))]
    )
    def test_takes_ids_and_texts_of_any_kind(self, key, value):
        item = Item(**{"name": "Lamp", "price": 1, key: value})

        assert sent(cart([item]))["items"][0][key] == str(value)

    @pytest.mark.parametrize("quantity", [3, "3", Decimal(3), 3.0, Decimal("3.000")], ids=repr)
    def test_counts_its_quantity(self, quantity):
        event = cart([Item(name="Lamp", price="1.10", quantity=quantity)])

        assert '"quantity":3,' in event.json()
        assert amounts(event) == {"subtotal": 3.3, "total": 3.3}

    def test_may_be_a_part_of_a_piece(self):
        assert sent(cart([Item(name="Rope", price=2, quantity="1.25")]))["total"] == 2.5

    def test_may_be_a_dict_of_the_same_names(self):
        given = {"name": "Lamp", "price": "50.00", "quantity": 2, "colour": "red"}

        assert sent(cart([given, lamp()]))["items"] == [
            {"name": "Lamp", "price": 50, "quantity": 2, "colour": "red"},
            {"name": "Lamp", "price": 50, "quantity": 1},
        ]
        assert given == {"name": "Lamp", "price": "50.00", "quantity": 2, "colour": "red"}

    def test_may_be_a_snapshot(self):
        line = Line(product=Product(name="Lamp", price=Decimal("50.10")), quantity=2)

        event = cart([snapshot(line, "quantity", name="product.name", price="product.price")])

        assert sent(event)["items"] == [{"name": "Lamp", "quantity": 2, "price": 50.1}]
        assert sent(event)["total"] == 100.2

    def test_may_come_from_a_generator_and_in_any_sequence(self):
        expected = sent(cart([lamp(), shirt()]))

        assert sent(cart(item for item in (lamp(), shirt()))) == expected
        assert sent(cart((lamp(), shirt()))) == expected

    def test_does_not_change_with_the_callers_dict(self):
        item = lamp()
        event = cart([item])

        item["price"] = 0

        assert event.data["items"][0]["price"] == 50


class MoneyTests:
    @pytest.mark.parametrize(
        ("given", "number"),
        [
            (Decimal("19.90"), "19.9"),
            (Decimal("50.00"), "50"),
            (Decimal("0"), "0"),
            (Decimal("-5.25"), "-5.25"),
            (Decimal("0.1") + Decimal("0.2"), "0.3"),
            ("19.90", "19.9"),
            (" 19.90 ", "19.9"),
            ("50.00", "50"),
            ("-5", "-5"),
            (50, "50"),
            (0, "0"),
            (19.9, "19.9"),
            (0.1 + 0.2, "0.3"),
            (1.1 * 3, "3.3"),
            (50.0, "50"),
            (1e-9, "0"),
            (0.0, "0"),
            (Fee(1.5), "1.5"),
        ],
        ids=repr,
    )
    def test_is_always_a_json_number(self, given, number):
        item = cart([Item(name="x", price=given, tax=given)])
        one = {"discount": given, "shipping": given, "tax": given, "total": given, "subtotal": given}
        whole = order([], **one, total_before_tax=given, revenue=given)

        assert f'"price":{number},"tax":{number}}}' in item.json()
        for name in (*AMOUNTS, "revenue"):
            assert any(f'"{name}":{number}{end}' in whole.json() for end in ",}")

    @pytest.mark.parametrize("kind", [Decimal, str, float], ids=lambda kind: kind.__name__)
    def test_adds_up_as_it_would_on_paper(self, kind):
        prices = ["0.10", "0.20", "19.99", "0.01", "1.15"]

        event = cart([Item(name="x", price=kind(price), quantity=3) for price in prices])

        assert '"subtotal":64.35,' in event.json()
        assert '"total":64.35,' in event.json()

    def test_of_many_lines_does_not_drift(self):
        assert '"total":100.1,' in cart([Item(name="x", price=0.1)] * 1001).json()

    @pytest.mark.parametrize(
        "value",
        [
            "19,90",
            "",
            "free",
            "EUR 5",
            True,
            False,
            b"5",
            object,
            [5],
            float("nan"),
            float("inf"),
            Decimal("NaN"),
            Decimal("sNaN"),
            Decimal("-Infinity"),
            "nan",
            1e300,
        ],
        ids=repr,
    )
    def test_that_is_no_amount_is_refused_with_its_name(self, value):
        why = f"must be an amount such as 19.90, not {value!r}."

        for name in ("price", "quantity", "tax"):
            assert refused(Item, **{"name": "x", "price": 1, name: value}) == f"{name} {why}"
        for name in AMOUNTS:
            assert refused(cart, **{name: value}) == f"{name} {why}"
            assert refused(order, **{name: value}) == f"{name} {why}"
        assert refused(order, revenue=value) == f"revenue {why}"

    @pytest.mark.parametrize("name", ["price", "quantity"])
    def test_that_every_item_needs_is_refused_where_it_is_none(self, name):
        given = {"name": "x", "price": 1, name: None}

        assert refused(Item, **given) == f"{name} must be an amount such as 19.90, not None."
        assert refused(cart, [given]) == f"items[0].{name} must be an amount such as 19.90, not None."

    @pytest.mark.parametrize("value", ["1e400", 10**400, Decimal("1e400")], ids=["text", "int", "Decimal"])
    def test_that_json_cannot_carry_is_refused(self, value):
        assert refused(cart, total=value) == "data.total is not a finite number that JSON can carry."


class TotalsTests:
    ITEMS = (Item(name="a", price="10.00", quantity=3), Item(name="b", price="5.50", quantity=2))  # 41

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({}, {"subtotal": 41, "total": 41}),
            ({"discount": 1}, {"subtotal": 41, "discount": 1, "total": 40}),
            ({"shipping": 4}, {"subtotal": 41, "shipping": 4, "total": 45}),
            ({"discount": 1, "shipping": 4}, {"subtotal": 41, "discount": 1, "shipping": 4, "total": 44}),
            ({"tax": 8}, {"subtotal": 41, "total_before_tax": 41, "tax": 8, "total": 49}),
            ({"tax": 0}, {"subtotal": 41, "total_before_tax": 41, "tax": 0, "total": 41}),
            (
                {"discount": 1, "shipping": 4, "tax": 8},
                {"subtotal": 41, "discount": 1, "shipping": 4, "total_before_tax": 44, "tax": 8, "total": 52},
            ),
            # What is given is not computed again.
            ({"subtotal": 30}, {"subtotal": 30, "total": 30}),
            ({"subtotal": 30, "discount": 5}, {"subtotal": 30, "discount": 5, "total": 25}),
            ({"total": 99}, {"subtotal": 41, "total": 99}),
            ({"total": 0}, {"subtotal": 41, "total": 0}),
            ({"total": 41, "tax": 7}, {"subtotal": 41, "total_before_tax": 34, "tax": 7, "total": 41}),
            ({"total_before_tax": 34}, {"subtotal": 41, "total_before_tax": 34, "total": 34}),
            ({"total_before_tax": 34, "tax": 7}, {"subtotal": 41, "total_before_tax": 34, "tax": 7, "total": 41}),
            (
                {"total": 1, "subtotal": 2, "discount": 3, "shipping": 4, "tax": 5, "total_before_tax": 6},
                {"total": 1, "subtotal": 2, "discount": 3, "shipping": 4, "tax": 5, "total_before_tax": 6},
            ),
        ],
        ids=lambda amounts: "+".join(amounts) or "nothing",
    )
    @pytest.mark.parametrize("make", [cart, order], ids=lambda make: make.__name__)
    def test_are_computed_from_what_is_given(self, make, given, expected):
        assert amounts(make(self.ITEMS, **given)) == expected

    def test_are_those_of_the_prices_that_include_the_tax_where_the_total_is_given(self):
        event = cart([Item(name="a", price="12.00", tax="2.00")], total="12.00", tax="2.00")

        assert amounts(event) == {"subtotal": 12, "total_before_tax": 10, "tax": 2, "total": 12}

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({}, {"subtotal": 41, "total": 41}),
            ({"tax": 8}, {"subtotal": 41, "total_before_tax": 33, "tax": 8, "total": 41}),
            (
                {"discount": 1, "shipping": 4, "tax": 8},
                {"subtotal": 41, "discount": 1, "shipping": 4, "total_before_tax": 36, "tax": 8, "total": 44},
            ),
            ({"tax": 8, "total": 40}, {"subtotal": 41, "total_before_tax": 32, "tax": 8, "total": 40}),
            ({"total_before_tax": 30, "tax": 7}, {"subtotal": 41, "total_before_tax": 30, "tax": 7, "total": 41}),
        ],
        ids=lambda amounts: "+".join(amounts) or "nothing",
    )
    @pytest.mark.parametrize("make", [cart, order], ids=lambda make: make.__name__)
    def test_add_no_tax_that_the_prices_include(self, make, given, expected):
        assert amounts(make(self.ITEMS, tax_included=True, **given)) == expected


class RefusalsTests:
    @pytest.mark.parametrize("make", [cart, order], ids=lambda make: make.__name__)
    @pytest.mark.parametrize(
        ("item", "message"),
        [
            ({"name": "x", "price": "19,90"}, "items[1].price must be an amount such as 19.90, not '19,90'."),
            ({"name": "x", "price": 1, "quantity": "two"}, "items[1].quantity must be an amount such as 19.90"),
            ({"name": "x", "price": 1, "tax": True}, "items[1].tax must be an amount such as 19.90, not True."),
            ({"name": "x"}, "items[1]: Item.__init__() missing 1 required keyword-only argument: 'price'"),
            ({"price": 1}, "items[1]: Item.__init__() missing 1 required keyword-only argument: 'name'"),
            ({5: 1}, "items[1]: keywords must be strings"),
            ("Lamp", "items[1] must be an Item or a dict, not str."),
            (None, "items[1] must be an Item or a dict, not NoneType."),
            (["name", "Lamp"], "items[1] must be an Item or a dict, not list."),
            pytest.param(
                {"name": object(), "price": 1},
                "data.items[1].name is of type object, which JSON cannot carry",
                id="object",
            ),
            ({"name": "a\0", "price": 1}, "data.items[1].name contains a NUL character."),
            (changed(lamp(), price="free"), "items[1].price must be an amount such as 19.90, not 'free'."),
        ],
        ids=str,
    )
    def test_name_the_item_and_its_value(self, make, item, message):
        assert refused(make, [lamp(), item]).startswith(message)

    @pytest.mark.parametrize("make", [cart, order], ids=lambda make: make.__name__)
    def test_of_items_that_are_none_or_never_end_say_so(self, make):
        assert refused(make, None) == "items must be a list of Item or dicts, not NoneType."
        assert refused(make, 5) == "items must be a list of Item or dicts, not int."
        assert refused(make, SimpleLazyObject(lambda: 5)).startswith("items must be a list of Item or dicts")
        assert refused(make, iter(lamp, None)) == "items holds more than 2000: send fewer."

    @pytest.mark.parametrize("name", ["total", "currency", "cart_id", "order_id"])
    @pytest.mark.parametrize(
        "value", [10**5000, [[]] * 100_000, "9" * 2_500_000, nested(5000)], ids=["int", "list", "text", "deep"]
    )
    def test_are_short_and_made_whatever_the_value_is(self, name, value):
        assert len(refused(order, **{name: value})) < 200

    @pytest.mark.parametrize("name", ["cart_id", "order_id"])
    def test_of_a_row_instead_of_its_id_say_so(self, name):
        assert refused(order, **{name: Cart(pk=1)}) == f"{name} must be an id, not Cart: give its pk."

    @pytest.mark.parametrize("make", [cart, order], ids=lambda make: make.__name__)
    @pytest.mark.parametrize("currency", ["eur", "EURO", "€", "", "EU1", "EUR ", "EUR\n", None, 978, b"EUR"], ids=repr)
    def test_of_a_currency_name_it(self, make, currency):
        expected = f"currency must be a code of ISO 4217 such as EUR, not {currency!r}."

        assert refused(make, currency=currency) == expected

    @pytest.mark.parametrize("value", [None, "", "  "], ids=repr)
    def test_of_an_id_that_is_empty_name_it(self, value):
        assert refused(cart, cart_id=value) == "cart_id must not be empty."
        assert refused(order, cart_id=value) == "cart_id must not be empty."
        assert refused(cart_deleted, ADA, cart_id=value) == "cart_id must not be empty."
        assert refused(order, order_id=value) == "order_id must not be empty."

    @pytest.mark.parametrize("cart_id", [0, 12, "12", UUID(int=12), "a b"], ids=str)
    def test_do_not_concern_any_other_id(self, cart_id):
        for event in (cart(cart_id=cart_id), order(cart_id=cart_id), cart_deleted(ADA, cart_id=cart_id)):
            assert event.body()["eventdata"]["id"] == f"cart:{cart_id}"

    @pytest.mark.parametrize(
        "given",
        [
            {"items": [Item(name="x", price="1e27")]},
            {"items": [Item(name="x", price="1e999999", quantity="1e999999999999999999")]},
            {"discount": "1e999999999999999999", "shipping": "1e999999999999999999"},
        ],
        ids=str,
    )
    def test_of_amounts_that_cannot_be_added_up_say_so(self, given):
        assert refused(cart, **given) == "The amounts are too large, or too finely divided, to be added up."

    def test_are_those_of_the_event_too(self):
        assert refused(cart_deleted, "ada", cart_id=1) == "email is not an e-mail address like ada@example.com."
        assert refused(cart, properties={"email": "x"}).startswith("properties.email ")
        assert refused(cart, delay=60, expires=30).startswith("expires must be longer than delay")
        assert refused(cart, delay="60") == "delay must be seconds or a timedelta, not str."
        assert "bytes long" in refused(cart, [shirt()] * 300)


class ExtraTests:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: order(expires=60),
            lambda: order(coalesce=True),
            lambda: cart_deleted(ADA, cart_id=1, delay=5),
            lambda: cart(idempotency_key="1"),
            lambda: cart(implied_by=("a",)),
            lambda: order(id=7),
            lambda: cart_deleted(ADA, cart_id=1, items=[lamp()]),
        ],
    )
    def test_holds_no_option_which_brevo_would_get_as_data(self, make):
        with pytest.raises(TypeError, match="is not an argument of this function"):
            make()


@pytest.mark.parametrize(
    ("price", "quantity", "subtotal"),
    [
        ("19.99", 1.5, "29.99"),
        ("0.333", 3, "0.999"),
        (1000, 3, "3000"),
        (Decimal(100) / 3, 4, "133.333333"),
        (Decimal(100) / 7, 7, "100"),
    ],
)
class RoundingTests:
    def test_is_as_fine_as_the_finest_price(self, price, quantity, subtotal):
        event = cart([Item(name="x", price=price, quantity=quantity)])

        assert event.data["subtotal"] == event.data["total"] == float(subtotal)
