"""
Capture unlikely input, and check that it is either refused or stored exactly as given.

``python -m tests.fuzz [--count N] [--seed N]``, on the database that
``TEST_DATABASE_URL`` names. Only ``InvalidEvent`` may be raised, with a short
message that shows no address and forges no log line. Exits with 1 if anything
else happens.
"""

from __future__ import annotations

import argparse
import datetime as dt
import enum
import json
import os
import random
import re
import sys
import time
import traceback
from collections import Counter, UserDict
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import cycle
from uuid import UUID

from django.utils.functional import SimpleLazyObject, lazy

MAX_MESSAGE = 500  # characters
MAX_SECONDS = 3.0  # for one input, on a busy machine
TEXTS = ("", " ", "a", "cart_updated", "Zoë 🛒", "e\u0301", "\0", "a\0b", "\ud800", "\udfff", "\n", "a\nERROR b")
TEXTS += ("\x1b[2J", "\x85", "\u2028", "\u202e", "\U0010ffff", "'\"\\%_`;--", "ﬁ", "ß", "\u212a", "İ", "\u200b", "nan")
EMAILS = (
    "ada@example.com",
    "ADA@Example.com",
    "josé@müller.de",
    "a@fußball.de",
    "x",
    "a@b@c",
    "@",
    "a@é..com",
    "a\0@b",
)
NUMBERS = (0, 1, -1, 2**31, 2**53, 2**63, 2**64, 10**400, 10**5000, True, 0.1, -0.0, 1e308, 5e-324, 1e-9)
NUMBERS += (float("nan"), float("inf"), Decimal("19.90"), Decimal("sNaN"), Decimal("1e400"), Decimal("1e-999999"))
NUMBERS += (Decimal("-Infinity"), Decimal("1e999999999999999999"), Decimal("0E+3"))
MOMENTS = (dt.date.min, dt.datetime.min, dt.datetime.max, dt.datetime(2026, 3, 29, 2, 30), dt.time(1), dt.timedelta(1))
MOMENTS += (dt.datetime.now(dt.UTC), dt.timedelta.max, dt.timedelta(-1), dt.timedelta(seconds=30))


class OwnError(Exception):
    """Raised by a value's own code."""


class Liar(str):
    def __str__(self):
        return "\0" if str.__len__(self) > 5 else "a lie"

    def __len__(self):
        return 1

    def __contains__(self, other):
        return False


class Many(int):
    def __int__(self):
        raise OwnError

    __float__ = __str__ = __repr__ = __lt__ = __le__ = __gt__ = __neg__ = bit_length = __int__


class Strange(Decimal):
    def is_finite(self):
        return True

    def __float__(self):
        return float("nan")


class Day(dt.datetime):
    def isoformat(self, *args):
        return "\ud800"

    def utcoffset(self):
        raise OwnError


class Endless(list):
    def __iter__(self):
        return cycle([0.5])


class Broken(UserDict):
    def items(self):
        raise OwnError


class Shouting:
    def __repr__(self):
        return "ada.secret@example.com\nERROR forged"

    __str__ = __repr__


class Itself(enum.Enum):
    ONE = 1

    @property
    def value(self):
        return self


class Kind(str, enum.Enum):  # noqa: UP042 - projects have it
    CART = "cart_updated"


def fail():
    raise OwnError


@dataclass
class Report:
    """What became of the inputs."""

    counts: Counter = field(default_factory=Counter)
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)


class Inputs:
    """Random arguments for a capture: mostly sane, because with many insane ones, few would get far."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def maybe(self, chance):
        return self.random.random() < chance

    def text(self):
        text = self.random.choice(TEXTS)
        if self.maybe(0.5):
            text = "".join(chr(self.random.choice((self.random.randrange(32, 0x3000), 0x1F6D2))) for _ in range(5))
        return text * self.random.choice((1, 1, 1, 50, 256, 60_000 if self.maybe(0.1) else 2))

    def odd(self):
        """Return something that a project wouldn't send on purpose."""
        loop = []
        loop.append(loop)
        deep = []
        for _ in range(self.random.choice((5, 25, 3000))):
            deep = [deep]
        lies = (Liar("text"), Liar("x" * 300), Many(7), Strange("1.5"), Day(2026, 1, 1), Kind.CART, Itself.ONE)
        lazies = (lazy(fail, str)(), lazy(lambda: "lazy", str)(), SimpleLazyObject(lambda: 3), SimpleLazyObject(fail))
        others = (None, b"x", 1j, object(), Shouting(), int, fail, UUID(int=1), memoryview(b"x"), {1, "a"}, frozenset())
        ends = (loop, deep, Endless(), Broken({"a": 1}), cycle(["a"]), (n for n in "ab"), range(3))
        return self.random.choice(self.random.choice((lies, lies, lazies, others, ends)))

    def strange(self):
        return self.random.choice((self.value, self.odd, self.text))()

    def value(self, depth=0):
        kind = self.random.randrange(12)
        if kind < 2 and depth < 4:
            return [self.value(depth + 1) for _ in range(self.random.randrange(4))]
        if kind < 5 and depth < 4:
            return {self.key(): self.value(depth + 1) for _ in range(self.random.randrange(4))}
        if kind == 5 and self.maybe(0.3):
            return self.odd()
        return self.random.choice(
            (self.text, lambda: self.random.choice(NUMBERS), lambda: self.random.choice(MOMENTS))
        )()

    def key(self):
        if self.maybe(0.05):
            return self.random.choice((5, None, Kind.CART, Liar("key"), ("ada@example.com",), "k" * 201, "a@b.de"))
        return self.text()[:40]

    def plain(self, depth=0):
        """Return a value that JSON represents exactly."""
        kind = self.random.randrange(6)
        if kind == 0 and depth < 4:
            return [self.plain(depth + 1) for _ in range(self.random.randrange(4))]
        if kind == 1 and depth < 4:
            return {f"{n} é": self.plain(depth + 1) for n in range(self.random.randrange(4))}
        text = "".join(chr(self.random.choice((self.random.randrange(1, 0xD800), 0x1F6D2))) for _ in range(9))
        return self.random.choice((text, self.random.randrange(-(10**30), 10**30), self.random.random(), None, True))

    def sane_or(self, sane, odd, chance=0.1):
        return odd() if self.maybe(chance) else self.random.choice(sane)

    def options(self):
        names = [("cart_updated",), ["a", "b"], ()]
        spans = [None, 0, 60, 0.5, dt.timedelta(minutes=1)]
        every = {
            "object_id": lambda: self.sane_or([f"cart:{n}" for n in range(20)], self.strange, 0.3),
            "properties": lambda: self.sane_or([{"FIRSTNAME": "Ada"}, {"event": 1}], self.strange, 0.3),
            "coalesce": lambda: self.sane_or([True, False], self.odd),
            "delay": lambda: self.sane_or(spans, lambda: self.random.choice((*NUMBERS, *MOMENTS, self.odd()))),
            "expires": lambda: self.sane_or(spans, lambda: self.random.choice((*NUMBERS, *MOMENTS, self.odd()))),
            "supersedes": lambda: self.sane_or(names, self.strange),
            "implied_by": lambda: self.sane_or(names, self.strange),
            "idempotency_key": lambda: self.sane_or([str(self.random.randrange(9999))], self.strange, 0.2),
        }
        return {name: make() for name, make in every.items() if self.maybe(0.2)}

    def event(self):
        """Return the arguments of an event, and the data that must be stored as it is, if that is known."""
        data = self.plain() if self.maybe(0.5) else None
        known = isinstance(data, dict) and data
        given = {
            "name": self.sane_or(["viewed", "a", "b"], self.strange, 0.2),
            "email": self.sane_or(EMAILS[:4], lambda: self.sane_or(EMAILS, self.strange, 0.5), 0.2),
            "data": data if known else self.sane_or([{"a": 1}], lambda: {self.key(): self.strange()}, 0.9),
        }
        return {**given, **self.options()}, data if known else None

    def order(self):
        """Return a function of the vocabulary and its arguments."""
        from brevo_events import commerce

        amount = lambda: self.sane_or([1, "19.90", 0.1, Decimal("5")], self.strange, 0.1)  # noqa: E731
        item = lambda: self.sane_or([commerce.Item(name="x", price=1), {"name": "y", "price": "2"}], self.strange, 0.05)  # noqa: E731
        given = {
            "email": self.sane_or([*EMAILS[:4], None], self.strange, 0.05),
            "cart_id": self.sane_or(range(50), self.strange),
            "items": self.sane_or(
                [[item(), {"name": self.text(), "price": amount(), "tax": amount()}]], self.strange, 0.05
            ),
            "currency": self.sane_or(["EUR"], self.strange, 0.05),
        }
        if self.maybe(0.2):
            return commerce.cart_deleted, {name: given[name] for name in ("email", "cart_id")}
        names = ("total", "subtotal", "discount", "shipping", "tax", "total_before_tax")
        given |= {name: amount() for name in names if self.maybe(0.2)} | {"tax_included": self.maybe(0.5)}
        if self.maybe(0.5):
            return commerce.cart_updated, given
        address = self.sane_or([{"city": "Paris"}, None], self.strange)
        return commerce.order_completed, given | {"order_id": self.strange(), "shipping_address": address}


def capture(inputs):
    """Capture one input in one of several ways; return the rows, and what must be stored of it if that is known."""
    from brevo_events import Event, track, track_many

    way = inputs.random.randrange(4)
    if way == 0:
        function, given = inputs.order()
        try:
            event = function(given.pop("email"), **given)
        except OwnError:
            return [], {}  # the project's own call has failed, before there is an event
        return [track(event)], {}
    if way == 1:
        given = [inputs.event()[0] for _ in range(3)]
        return track_many([Event(**each) for each in given]), {}
    given, data = inputs.event()
    # A name that fails when it is asked whether it is an Event comes from no project.
    is_made_before = way == 2 or type(given["name"]) is SimpleLazyObject
    texts = ((name, given.get(name)) for name in ("name", "email", "object_id"))
    known = {name: str.__str__(text) for name, text in texts if type(text) in (str, Liar)}
    return [track(Event(**given)) if is_made_before else track(**given)], known | ({"data": data} if data else {})


def faults_of(rows, known):
    from brevo_events.addresses import contact_hash
    from brevo_events.models import OutboxEvent

    for row in filter(None, rows):
        stored = OutboxEvent.objects.get(pk=row.pk)
        columns = ("name", "email", "object_id", "body", "contact", "coalesce_key", "idempotency_key", "expires_at")
        for name in columns:
            if getattr(stored, name) != getattr(row, name):
                yield f"{name} is stored as {getattr(stored, name)!a:.200}, not {getattr(row, name)!a:.200}"
        body = json.loads(stored.body)
        if (body["email"], body["event"]) != (stored.email, stored.name) or stored.contact != contact_hash(
            stored.email
        ):
            yield f"the body is about another event: {stored.body!a:.200}"
        for name, value in known.items():
            if json.dumps(getattr(stored, name)) != json.dumps(value):
                yield f"{name} is stored as {getattr(stored, name)!a:.200}, not {value!a:.200}"


def faults_of_message(text):
    if len(text) > MAX_MESSAGE or re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", text):
        yield f"a message is too long, or has control characters: {text!a:.300}"
    if "@" in text.replace("ada@example.com", "", 1).replace("…@…", ""):
        yield f"a message shows an address: {text!a:.300}"


def run(count, seed):
    """Capture that many inputs, and return what became of them."""
    from brevo_events.exceptions import InvalidEvent

    inputs, report = Inputs(seed), Report()
    for number in range(count):
        began = time.perf_counter()
        try:
            rows, known = capture(inputs)
        except InvalidEvent as error:
            report.counts["refused"] += 1
            faults = list(faults_of_message(str(error)))
        except Exception:
            report.counts["failed"] += 1
            faults = [traceback.format_exc(limit=-5)]
        else:
            report.counts["stored" if any(rows) else "not kept"] += 1
            faults = list(faults_of(rows, known))
        took = time.perf_counter() - began
        report.slowest = max(report.slowest, took)
        if took > MAX_SECONDS:
            faults.append(f"it took {took:.1f} s")
        report.faults += [f"input {number} of seed {seed}: {fault}" for fault in faults]
    return report


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

    import django
    from django.conf import settings
    from django.db import connection
    from django.test.utils import override_settings

    django.setup()
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        with override_settings(BREVO_EVENTS={"ENGINE": "worker", "RAISE_ERRORS": True}, DEBUG=False):
            report = run(options.count, options.seed)
    finally:
        connection.creation.destroy_test_db(settings.DATABASES["default"]["NAME"], verbosity=0)
    print(f"{connection.vendor}, seed {options.seed}: {dict(report.counts)}, longest {report.slowest:.2f} s")
    print("\n".join(report.faults[:20]) or "Everything was refused, or stored as it was given.")
    sys.exit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
