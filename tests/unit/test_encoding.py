from __future__ import annotations

import datetime as dt
import enum
from collections import OrderedDict, namedtuple
from decimal import Decimal
from types import MappingProxyType
from uuid import UUID

import pytest
from django.db import DatabaseError
from django.db.models import TextChoices
from django.utils import timezone
from django.utils.functional import SimpleLazyObject, lazy
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from brevo_events.encoding import MAX_DEPTH, encode, shown
from brevo_events.exceptions import InvalidEvent
from tests.shop.models import Cart
from tests.values import nested

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

    def __int__(self):
        return 10**400


class Share(float):
    def __float__(self):
        return float("nan")


class Sneaky(str):
    def __str__(self):
        return "a\0b" * 400


class Sum(Decimal):
    def is_finite(self):
        raise ZeroDivisionError

    __float__ = __int__ = to_integral = is_finite


class Day(dt.date):
    def isoformat(self):
        return "\0"


class Endless(list):
    def __iter__(self):
        while True:
            yield 0.5


class Itself(enum.Enum):
    ONE = 1

    @property
    def value(self):
        return self


def failing(error):
    def fail():
        raise error

    return lazy(fail, str)()


Pair = namedtuple("Pair", "left right")


class Shouting:
    def __repr__(self):
        return "one\ntwo"


class Failing:
    def __init__(self, error=ZeroDivisionError):
        self.error = error

    def __repr__(self):
        raise self.error


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
            (Share(0.5), 0.5),
            (Sneaky("plain"), "plain"),
            (Sum("1.5"), 1.5),
            (Day(2026, 2, 3), "2026-02-03"),
            ({Sneaky("plain"): 1}, {"plain": 1}),
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
            pytest.param(frozenset({"b", "a"}), ["a", "b"], id="frozenset"),
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

    @pytest.mark.parametrize("length", [201, 2_500_000])
    def test_takes_no_key_that_is_longer_than_200_characters(self, length):
        assert encode({"é" * 200: 1}, "data") == {"é" * 200: 1}

        message = refused({"a": {"k" * length: [0.5] * 1000}})

        assert message == f"a key of data.a is {length} characters long: 200 at most."

    @pytest.mark.parametrize("key", ["x" * 200, "two words", "a\nERROR forged line", "a.b", "\u2028", ""])
    def test_shows_a_key_that_is_no_plain_word_by_its_repr_and_cut(self, key):
        message = refused({"a": {key: {"b": b""}}})

        assert message.startswith(f"data.a[{repr(key)[:50]}")
        assert message.isprintable()
        assert len(message) < 250

    @pytest.mark.parametrize("error", [ZeroDivisionError, RecursionError, Cart.DoesNotExist, InvalidEvent])
    def test_names_the_value_whose_own_code_fails(self, error):
        with pytest.raises(InvalidEvent) as caught:
            encode({"a": [failing(error)]}, "data")

        assert str(caught.value) == f"data.a[0] cannot be read: {error.__name__}."
        assert isinstance(caught.value.__cause__, error)

    def test_lets_errors_of_the_database_through(self):
        with pytest.raises(DatabaseError):
            encode({"a": [failing(DatabaseError)]}, "data")

    def test_ends_for_an_enum_that_is_its_own_value(self):
        assert refused({"a": Itself.ONE}) == "data.a cannot be read: RecursionError."

    def test_shows_no_address_that_is_a_key(self):
        message = refused({"by": {"ada@example.com": {"x": b""}}})

        assert message.startswith("data.by.….x is of type bytes")

    def test_shows_no_value(self):
        assert "ada" not in refused({"x": ["ada@example.com\0"]})


class SizeTests:
    """A value that is much too large is refused before all of it has been read."""

    @pytest.mark.parametrize(
        "value",
        [
            [0.5] * 60_000,
            [{"a": 1}] * 20_000,
            ["x" * 40_000] * 10_000_000,
            {"key" + str(number): 1 for number in range(10_000)},
            Endless(),
            {"a": ["é" * 40_000, Endless()]},
            [[[[1] * 1000] * 1000] * 1000] * 1000,
        ],
        ids=["values", "objects", "texts", "keys", "endless", "endless inside", "the same lists"],
    )
    def test_is_counted_no_further_than_a_body_may_be_long(self, value):
        assert refused(value) == "data is more than 50000 bytes long: send fewer items or shorter texts."

    def test_of_what_fits_is_no_matter(self):
        assert encode([0] * 24_000, "data") == [0] * 24_000


class ShownTests:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("19,90", "'19,90'"),
            (None, "None"),
            ([5], "[5]"),
            ("x" * 1_000_000, "'" + "x" * 78 + "…"),
            (10**5000, "a value of type int"),
            (nested(50_000), "a value of type list"),
            ("to ada@example.com", "'to …@…'"),
            ("a\nb", r"'a\nb'"),
            (Shouting(), "one…two"),
            (Failing(), "a value of type Failing"),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_is_short_and_on_one_line_and_without_an_address(self, value, expected):
        assert shown(value) == expected

    def test_lets_errors_of_the_database_through(self):
        with pytest.raises(DatabaseError):
            shown(Failing(DatabaseError))


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
