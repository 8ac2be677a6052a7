from __future__ import annotations

import copy
import dataclasses
import enum
import json
import pickle
import traceback
from decimal import Decimal

import pytest
from django.utils.translation import gettext_lazy

from brevo_events import Event
from brevo_events.events import MAX_BODY_BYTES, contact_of
from brevo_events.exceptions import BrevoEventsError, InvalidEvent
from tests.shop.models import Cart

EMAIL = "ada@example.com"

CONTRACT = {
    "email": "ada@example.com",
    "event": "cart_updated",
    "properties": {"FIRSTNAME": "Ada"},
    "eventdata": {
        "id": "cart:1234",
        "data": {
            "added_product": [{"currency": "EUR", "name": "Wrist watch", "type": "accessories", "price": "50.00"}]
        },
    },
}


class Name(str, enum.Enum):  # noqa: UP042 - projects have it: its str() is not its value
    CART = "cart_updated"


class Number(enum.Enum):
    ONE = 1


def refused(name="cart_updated", email=EMAIL, **parts):
    with pytest.raises(InvalidEvent) as caught:
        Event(name, email, **parts)
    return str(caught.value)


def filled(size):
    """Return an event whose body has that many bytes."""
    empty = len(Event("a", EMAIL, data={"x": ""}).json())
    return Event("a", EMAIL, data={"x": "x" * (size - empty)})


class BodyTests:
    def test_is_the_example_of_the_contract(self):
        event = Event(
            "cart_updated",
            EMAIL,
            object_id="cart:1234",
            data=CONTRACT["eventdata"]["data"],
            properties={"FIRSTNAME": "Ada"},
        )

        assert event.body() == CONTRACT
        assert event.json() == json.dumps(CONTRACT, separators=(",", ":"))

    @pytest.mark.parametrize(
        ("parts", "expected"),
        [
            ({}, {}),
            ({"data": None, "properties": None, "object_id": None}, {}),
            ({"data": {}, "properties": {}}, {}),
            ({"object_id": "cart:1"}, {"eventdata": {"id": "cart:1"}}),
            ({"data": {"n": 0}}, {"eventdata": {"data": {"n": 0}}}),
            ({"data": {"items": [], "n": None}}, {"eventdata": {"data": {"items": [], "n": None}}}),
            ({"properties": {"SMS": ""}}, {"properties": {"SMS": ""}}),
            ({"data": {"email": "b@c.de", "event": "x"}}, {"eventdata": {"data": {"email": "b@c.de", "event": "x"}}}),
        ],
    )
    def test_leaves_out_what_is_absent(self, parts, expected):
        event = Event("a", EMAIL, **parts)

        assert event.body() == {"email": EMAIL, "event": "a", **expected}
        assert json.loads(event.json()) == event.body()

    def test_carries_decimals_as_numbers_and_strings_as_they_are(self):
        event = Event("a", EMAIL, data={"d": Decimal("19.90"), "whole": Decimal("50.00"), "text": "50.00"})

        assert '"data":{"d":19.9,"whole":50,"text":"50.00"}' in event.json()

    def test_is_written_in_its_own_letters(self):
        assert '"event":"Zoë 🛒"' in Event("Zoë 🛒", EMAIL).json()

    def test_does_not_change_when_the_callers_dicts_do(self):
        data = {"items": [{"n": 1}]}
        event = Event("a", EMAIL, data=data)

        data["items"].append("later")

        assert event.data == {"items": [{"n": 1}]}
        assert "later" not in event.json()

    def test_may_have_50_000_bytes_and_no_more(self):
        assert len(filled(MAX_BODY_BYTES).json()) == MAX_BODY_BYTES == 50_000
        with pytest.raises(InvalidEvent, match="The body is 50001 bytes long: 50000 at most"):
            filled(MAX_BODY_BYTES + 1)

    def test_is_measured_in_bytes_not_in_characters(self):
        assert len(Event("a", EMAIL, data={"x": "é" * 24_000}).json()) < 25_000
        assert "bytes long" in refused(data={"x": "é" * 25_000})

    def test_counts_the_properties_too(self):
        assert "bytes long" in refused(data={"x": "x" * 26_000}, properties={"X": "x" * 26_000})


class NameAndObjectTests:
    @pytest.mark.parametrize("name", ["Order Completed", "x" * 255, "é" * 255, "a-b_c", " padded "])
    def test_any_text_is_a_name_as_it_is(self, name):
        assert Event(name, EMAIL, object_id=name).body()["event"] == name
        assert Event("a", EMAIL, object_id=name).body()["eventdata"]["id"] == name

    @pytest.mark.parametrize(
        ("value", "why"),
        [
            ("", "must not be empty"),
            (" \n", "must not be empty"),
            (gettext_lazy(""), "must not be empty"),
            (12, "must be a string, not int"),
            (b"cart", "must be a string, not bytes"),
            (Number.ONE, "must be a string, not int"),
            (Cart(pk=1), "must be a string, not Cart"),
            ("x" * 256, "is 256 characters long: 255 at most"),
            ("a\0", "contains a NUL character"),
            ("a\ud800", "contains a lone surrogate"),
        ],
    )
    def test_what_cannot_be_one_is_refused(self, value, why):
        assert refused(name=value).startswith(f"name {why}")
        assert refused(object_id=value).startswith(f"object_id {why}")

    def test_a_name_is_required(self):
        assert refused(name=None) == "name must be a string, not NoneType."

    @pytest.mark.parametrize("value", [Name.CART, gettext_lazy("cart_updated")])
    def test_an_enum_or_a_lazy_text_gives_its_value(self, value):
        event = Event(value, EMAIL, object_id=value)

        assert (event.name, event.object_id) == ("cart_updated", "cart_updated")
        assert {type(event.name), type(event.object_id)} == {str}


class EmailTests:
    @pytest.mark.parametrize(
        "email",
        [
            "ada@example.com",
            "Ada+cart@Example.COM",
            "josé@müller.de",
            "a@b",
            "o'hara@x.org",
            "a" * 242 + "@example.com",
        ],
    )
    def test_is_sent_as_it_was_given(self, email):
        assert Event("a", email).body()["email"] == email

    def test_is_required(self):
        with pytest.raises(TypeError):
            Event("a")
        assert refused(email=None) == "email must be a string, not NoneType."
        assert refused(email="") == "email must not be empty."

    @pytest.mark.parametrize(
        "email",
        [
            "secret-person",
            "secret@",
            "@secret.com",
            "secret@two@example.com",
            "secret person@example.com",
            " secret@example.com",
            "secret@example.com\n",
            "secret@exam\tple.com",
            "secret\x7f@example.com",
            "secret\0@example.com",
            "secret\ud800@example.com",
            "secret@" + "a" * 64 + "é.com",
            "secret@é..com",
            "secret" * 50 + "@example.com",
        ],
    )
    def test_that_is_none_is_refused_and_shown_nowhere(self, email):
        with pytest.raises(InvalidEvent, match=r"^email ") as caught:
            Event("a", email)

        shown = "".join(traceback.format_exception(caught.value))
        assert "secret" not in shown.replace(__file__, "")


class PropertiesTests:
    @pytest.mark.parametrize("key", ["email", "event"])
    def test_do_not_take_the_reserved_keys(self, key):
        assert refused(properties={"FIRSTNAME": "Ada", key: "x"}).startswith(f"properties.{key} ")
        assert refused(properties={enum.Enum("Key", {"K": key}, type=str).K: "x"}).startswith(f"properties.{key} ")

    def test_take_names_that_only_look_like_them(self):
        assert Event("a", EMAIL, properties={"EMAIL_2": 1, "events": 2}).properties == {"EMAIL_2": 1, "events": 2}

    @pytest.mark.parametrize("part", ["data", "properties"])
    @pytest.mark.parametrize("value", [[], "text", 0, [("a", 1)], Cart(pk=1)])
    def test_and_data_must_be_dicts(self, part, value):
        assert refused(**{part: value}) == f"{part} must be a dict, not {type(value).__name__}."

    @pytest.mark.parametrize("part", ["data", "properties"])
    def test_and_data_name_the_path_of_a_value_that_is_refused(self, part):
        message = refused(**{part: {"items": [1, 2, {"price": float("nan")}]}})

        assert message == f"{part}.items[2].price is not a finite number that JSON can carry."


class EventTests:
    def test_takes_its_options_by_name_only(self):
        with pytest.raises(TypeError):
            Event("a", EMAIL, "cart:1")

    def test_is_frozen(self):
        event = Event("a", EMAIL)

        with pytest.raises(dataclasses.FrozenInstanceError):
            event.name = "b"

    def test_shows_no_address_and_no_content(self):
        event = Event("a", EMAIL, object_id="cart:1", data={"secret": 1}, properties={"secret": 1})

        assert repr(event) == str(event) == "Event(name='a', object_id='cart:1')"

    def test_equals_an_event_with_the_same_content(self):
        assert Event("a", EMAIL, data={"n": (1,)}) == Event("a", EMAIL, data={"n": [1]})
        assert Event("a", EMAIL) != Event("a", EMAIL, object_id="x")

    @pytest.mark.parametrize("again", [copy.deepcopy, lambda event: pickle.loads(pickle.dumps(event))])
    def test_survives_being_copied(self, again):
        event = Event("a", EMAIL, data={"n": [1]})

        assert (again(event), again(event).json()) == (event, event.json())

    def test_replaced_in_part_is_checked_anew(self):
        event = Event("a", EMAIL, data={"n": 1})

        assert json.loads(dataclasses.replace(event, name="b").json())["event"] == "b"
        with pytest.raises(InvalidEvent):
            dataclasses.replace(event, name="")

    def test_an_invalid_one_is_a_value_error_of_this_app(self):
        assert issubclass(InvalidEvent, BrevoEventsError)
        assert issubclass(InvalidEvent, ValueError)


class ContactTests:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("ada@example.com", "ADA@Example.COM"),
            ("ada@example.com", " ada@example.com\n"),
            ("josé@example.com", "JOSÉ@example.com"),
            ("ada@müller.de", "ada@xn--mller-kva.de"),
            ("ada@MÜLLER.de", "Ada@müller.DE"),
        ],
    )
    def test_is_one_however_the_address_is_spelled(self, one, other):
        assert contact_of(one) == contact_of(other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("josé@example.com", "jose@example.com"),
            ("ada@example.com", "ada@example.org"),
            ("ada@muller.de", "ada@müller.de"),
            ("a.da@example.com", "ada@example.com"),
            ("ada+1@example.com", "ada@example.com"),
        ],
    )
    def test_is_another_for_another_address(self, one, other):
        assert contact_of(one) != contact_of(other)

    def test_is_a_hash_that_fits_its_column_and_does_not_tell_the_address(self):
        assert len(contact_of(EMAIL)) == 64
        assert "ada" not in contact_of(EMAIL)
        assert Event("a", EMAIL).contact == contact_of(EMAIL)

    @pytest.mark.parametrize("text", ["", "no address", "\ud800@x", "a@" + "é" * 300, "a@é..com"])
    def test_never_fails_on_what_a_form_may_bring(self, text):
        assert len(contact_of(text)) == 64
