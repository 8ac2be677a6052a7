from __future__ import annotations

import datetime as dt
import enum
from collections import OrderedDict, namedtuple
from decimal import Decimal
from types import MappingProxyType
from uuid import UUID

import pytest
from django.db.models import TextChoices
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from brevo_events.encoding import MAX_DEPTH, encode
from brevo_events.exceptions import InvalidEvent
from tests.shop.models import Cart

PLUS_FIVE = dt.timezone(dt.timedelta(hours=5))
UUID_TEXT = "12345678-1234-5678-1234-567812345678"


class Size(TextChoices):
    SMALL = "small", "Small one"


class Colour(str, enum.Enum):  # noqa: UP042 - projects have it: its str() is not its value
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Price(enum.Enum):
    LOW = Decimal("1.50")


class Count(int):
    def __str__(self):
        return "many"


Pair = namedtuple("Pair", "left right")


def nested(depth, kind=list):
    value = "core"
    for _ in range(depth):
        value = [value] if kind is list else {"k": value}
    return value


def refused(value, path="data"):
    with pytest.raises(InvalidEvent) as caught:
        encode(value, path)
    return str(caught.value)


class ValueTests:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (None, None),
            (True, True),
            (False, False),
            (0, 0),
            (-5, -5),
            (2**70, 2**70),
            (Count(7), 7),
            (1.5, 1.5),
            ("", ""),
            ("12.50", "12.50"),
            ("Zoë 🛒 \n", "Zoë 🛒 \n"),
            (mark_safe("<b>"), "<b>"),
            (Decimal("19.90"), 19.9),
            (Decimal("50.00"), 50),
            (Decimal("-0"), 0),
            (Decimal("-3"), -3),
            (Decimal("1e3"), 1000),
            (Decimal("1e20"), 1e20),
            (Decimal("1e-9999999"), 0.0),
            (UUID(UUID_TEXT), UUID_TEXT),
            (gettext_lazy("Cart"), "Cart"),
            (Size.SMALL, "small"),
            (Colour.RED, "red"),
            (Level.HIGH, 3),
            (Price.LOW, 1.5),
            (dt.date(2026, 2, 3), "2026-02-03"),
            (dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC), "2026-07-01T12:00:00+00:00"),
            (dt.datetime(2026, 7, 1, 12, 0, 0, 5, tzinfo=PLUS_FIVE), "2026-07-01T12:00:00.000005+05:00"),
            ((1, "a"), [1, "a"]),
            (Pair(1, 2), [1, 2]),
            ({3, 1, 2}, [1, 2, 3]),
            (frozenset({"b", "a"}), ["a", "b"]),
            (set(), []),
            ({}, {}),
            (OrderedDict(b=1, a=(2,)), {"b": 1, "a": [2]}),
            (MappingProxyType({"a": 1}), {"a": 1}),
            ({Colour.RED: 1, Size.SMALL: 2}, {"red": 1, "small": 2}),
        ],
        ids=repr,
    )
    def test_becomes_json(self, value, expected):
        encoded = encode(value, "data")

        assert encoded == expected
        assert type(encoded) is type(expected) or isinstance(value, str)

    def test_keeps_the_keys_of_enums_as_plain_strings(self):
        assert [type(key) for key in encode({Colour.RED: 1}, "data")] == [str]

    def test_keeps_the_order_of_keys(self):
        assert list(encode({"b": 1, "a": 2}, "data")) == ["b", "a"]

    def test_copies_what_can_change(self):
        items = [{"n": 1}]
        encoded = encode(items, "data")

        items[0]["n"] = 2
        items.append("more")

        assert encoded == [{"n": 1}]

    @pytest.mark.parametrize(
        ("zone", "moment", "expected"),
        [
            (None, dt.datetime(2026, 7, 1, 12), "2026-07-01T12:00:00+02:00"),
            (None, dt.datetime(2026, 1, 1, 12), "2026-01-01T12:00:00+01:00"),
            ("America/New_York", dt.datetime(2026, 7, 1, 12), "2026-07-01T12:00:00-04:00"),
            (None, dt.datetime(2026, 3, 29, 2, 30), "2026-03-29T02:30:00+01:00"),
            (None, dt.datetime.max, "9999-12-31T23:59:59.999999+01:00"),
        ],
    )
    def test_a_naive_datetime_is_taken_in_the_current_time_zone(self, zone, moment, expected):
        with timezone.override(zone):
            assert encode(moment, "data") == expected

    def test_a_set_of_unlike_values_has_one_order(self):
        assert encode({1, "a", None}, "data") == encode({None, "a", 1}, "data")


class RefusalTests:
    @pytest.mark.parametrize(
        ("value", "named"),
        [
            (Cart(pk=1), "Cart"),
            (Cart, "ModelBase"),
            (b"bytes", "bytes"),
            (bytearray(b"x"), "bytearray"),
            (object(), "object"),
            (1j, "complex"),
            (dt.timedelta(1), "timedelta"),
            (dt.time(1), "time"),
            ((n for n in "ab"), "generator"),
            (len, "builtin_function_or_method"),
        ],
    )
    def test_names_the_type_that_json_cannot_carry(self, value, named):
        message = refused({"items": [1, 2, {"price": value}]})

        assert message.startswith(f"data.items[2].price is of type {named},")

    @pytest.mark.parametrize(
        "value",
        [
            float("nan"),
            float("inf"),
            -float("inf"),
            10**400,
            -(10**400),
            10**5000,
            Decimal("nan"),
            Decimal("sNaN"),
            Decimal("Infinity"),
            Decimal("1e400"),
            Decimal("1e9999999"),
            Decimal("-1e9999999"),
            SimpleLazyObject(lambda: 3),
        ],
        ids=lambda value: repr(value)[:20] if not isinstance(value, int) else f"int{value.bit_length()}",
    )
    def test_names_the_number_that_is_not_finite(self, value):
        assert refused([0, value], "properties") == "properties[1] is not a finite number that JSON can carry."

    @pytest.mark.parametrize(
        ("text", "why"),
        [("a\0b", "a NUL character"), ("\ud800", "a lone surrogate"), ("ok\udfff", "a lone surrogate")],
    )
    def test_names_the_text_that_a_database_would_refuse(self, text, why):
        assert refused({"a": {"b": text}}).startswith(f"data.a.b contains {why}")
        assert refused({"a": {text: 1}}).startswith(f"a key of data.a contains {why}")
        assert refused(SimpleLazyObject(lambda: text)).startswith(f"data contains {why}")
        assert why in refused(mark_safe(text))

    @pytest.mark.parametrize("key", [1, None, True, 1.5, b"k", ("ada@example.com",), gettext_lazy("Cart"), Level.HIGH])
    def test_takes_only_strings_as_keys(self, key):
        message = refused({"items": [{key: 1}]})

        assert message == f"data.items[0] has a key of type {type(key).__name__}: only strings can be keys."

    def test_shows_no_address_that_is_a_key(self):
        message = refused({"by": {"ada@example.com": {"x": b""}}})

        assert message.startswith("data.by.….x is of type bytes")

    def test_shows_no_value(self):
        assert "ada" not in refused({"x": ["ada@example.com\0"]})


class DepthTests:
    @pytest.mark.parametrize("kind", [list, dict])
    def test_allows_twenty_and_no_more(self, kind):
        deepest = nested(MAX_DEPTH, kind)

        assert encode(deepest, "data") == deepest
        assert refused(nested(MAX_DEPTH + 1, kind)).endswith("is nested more than 20 deep.")

    def test_siblings_do_not_add_up(self):
        assert len(encode([[1]] * 100, "data")) == 100

    def test_ends_in_a_list_that_contains_itself(self):
        circle = []
        circle += [circle, circle]

        assert "nested more than 20 deep" in refused(circle)

    def test_ends_in_a_dict_that_contains_itself(self):
        circle = {}
        circle["x" * 100] = circle

        message = refused(circle)

        assert "nested more than 20 deep" in message
        assert len(message) < 300
