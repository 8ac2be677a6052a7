from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import pytest
from django.core.exceptions import ObjectDoesNotExist

from brevo_events import snapshot
from brevo_events.exceptions import InvalidEvent
from tests.shop.models import Cart, Line, Product


@pytest.fixture
def line():
    return Line(
        cart=Cart(email="ada@example.com"), product=Product(name="Wrist watch", price=Decimal("50.00")), quantity=2
    )


class SnapshotTests:
    def test_is_the_example_of_its_documentation(self, line):
        assert snapshot(line, "quantity", name="product.name", price="product.price") == {
            "quantity": 2,
            "name": "Wrist watch",
            "price": Decimal("50.00"),
        }

    def test_without_paths_is_empty(self, line):
        assert snapshot(line) == {}

    def test_keeps_a_dotted_path_as_the_key(self, line):
        assert snapshot(line, "product.name") == {"product.name": "Wrist watch"}

    def test_calls_what_is_callable(self, line):
        assert snapshot(line, loud="product.shout") == {"loud": "WRIST WATCH"}

    def test_calls_what_is_callable_on_the_way(self):
        order = SimpleNamespace(customer=lambda: SimpleNamespace(name=lambda: "Ada"))

        assert snapshot(order, "customer.name") == {"customer.name": "Ada"}

    def test_reads_properties_and_plain_objects(self):
        assert snapshot(SimpleNamespace(a=SimpleNamespace(b=0)), "a.b") == {"a.b": 0}

    def test_none_on_the_way_gives_none(self, line):
        line.product = None

        assert snapshot(line, "product", name="product.name.upper") == {"product": None, "name": None}

    def test_none_from_a_callable_on_the_way_gives_none(self):
        assert snapshot(SimpleNamespace(a=lambda: None), "a.b") == {"a.b": None}

    def test_a_false_value_on_the_way_is_not_none(self):
        assert snapshot(SimpleNamespace(count=0), "count.real") == {"count.real": 0}

    def test_a_related_row_that_was_never_set_gives_none(self):
        assert snapshot(Line(), "cart", email="cart.email") == {"cart": None, "email": None}

    @pytest.mark.django_db
    def test_a_related_row_that_is_missing_gives_none(self):
        assert snapshot(Line(cart_id=987654), email="cart.email") == {"email": None}

    @pytest.mark.django_db
    def test_reads_and_counts_related_rows(self):
        cart = Cart.objects.create()
        Line.objects.create(cart=cart)

        assert snapshot(cart, "lines.count", first="lines.first.quantity") == {"lines.count": 1, "first": 1}

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("colour", "Line has no 'colour', which 'colour' of a snapshot asks for."),
            ("product.colour", "Product has no 'colour', which 'product.colour' of a snapshot asks for."),
            ("product.name.title.colour", "str has no 'colour', which 'product.name.title.colour'"),
            ("", "Line has no '', which '' of a snapshot asks for."),
            ("product.", "Product has no '', which 'product.' of a snapshot asks for."),
        ],
    )
    def test_a_name_that_does_not_exist_is_refused(self, line, path, message):
        with pytest.raises(InvalidEvent) as caught:
            snapshot(line, field=path)

        assert str(caught.value).startswith(message)

    def test_an_attribute_error_inside_a_property_is_kept_as_the_cause(self, line):
        with pytest.raises(InvalidEvent, match="broken") as caught:
            snapshot(line, "product.broken")

        assert str(caught.value.__cause__) == "inner"

    def test_another_error_of_a_callable_goes_through(self):
        def fail():
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            snapshot(SimpleNamespace(fail=fail), "fail")

    def test_an_error_message_shows_no_value(self, line):
        with pytest.raises(InvalidEvent) as caught:
            snapshot(line, "cart.email.nothing")

        assert "ada" not in str(caught.value)

    def test_a_missing_row_is_what_django_says_it_is(self):
        with pytest.raises(ObjectDoesNotExist):
            _ = Line().cart
