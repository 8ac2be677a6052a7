from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from django.db import Error as DatabaseError
from django.utils import timezone
from django.utils.functional import Promise

from brevo_events.addresses import without_addresses
from brevo_events.exceptions import InvalidEvent

# Brevo documents no limits for this endpoint; this is the documented limit for custom events in API v3.
MAX_BODY_BYTES = 50_000
MAX_DEPTH = 20
MAX_KEY_LENGTH = 200
MAX_SHOWN = 80  # characters of a value in a message

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SIMPLE_KEY = re.compile(r"[\w-]{1,40}")


def encode(value: Any, path: str) -> Any:
    """
    Return a copy of a value that consists only of JSON types.

    A Decimal becomes a number, because Brevo's workflow conditions compare
    numbers; a date becomes ISO 8601, and a naive datetime is taken to be in the
    current time zone. ``path`` names the value in the message of
    ``InvalidEvent``.
    """
    try:
        return _Encoder().encode(value, 0)
    except _Refused as refused:
        raise InvalidEvent(refused.message(path)) from refused.__cause__
    except _TooLong:
        # Without the path to the value at which the limit was reached: that value is no worse than the others.
        message = f"{path} is more than {MAX_BODY_BYTES} bytes long: send fewer items or shorter texts."
        raise InvalidEvent(message) from None


def plain_text(value: Any) -> str:
    """Return a string or lazy string as a plain ``str``, ignoring any ``__str__`` of its own."""
    return str.__str__(value if issubclass(type(value), str) else str(value))


def plain_number(value: Any) -> int | float:
    """Return a plain int or float even for a subclass; raises ``TypeError`` for anything else."""
    return int.__int__(value) if isinstance(value, int) else float.__float__(value)


def text_problem(text: str) -> str:
    """Return what a database or a JSON parser would reject in a text (NUL, lone surrogates), or an empty string."""
    if "\0" in text:
        return "contains a NUL character"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "contains a lone surrogate, which is no character"
    return ""


def has_control_character(text: str) -> bool:
    """Return whether a text could forge a log line or control a terminal."""
    return bool(_CONTROL.search(text))


def shown(value: Any) -> str:
    """Return a value as messages show it: short, on one line, without addresses, whatever its ``repr`` does."""
    try:
        text = repr(value[:MAX_SHOWN] if isinstance(value, str) else value)[: 2 * MAX_SHOWN]
    except DatabaseError:
        raise
    except Exception:  # noqa: BLE001 - a ValueError for a huge int, a RecursionError, or the value's own code
        text = f"a value of type {type(value).__name__}"
    text = _CONTROL.sub("…", without_addresses(text))
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


class _Refused(Exception):
    """
    The reason why a value can't be sent.

    The path is built step by step on the way out: building it for every value
    in advance would cost more than the encoding itself.
    """

    def __init__(self, problem: str, prefix: str = "") -> None:
        super().__init__(problem)
        self.problem, self.prefix = problem, prefix
        self.steps: list[str | int] = []

    def message(self, path: str) -> str:
        path += "".join(_shown_step(step) for step in reversed(self.steps))
        return f"{self.prefix}{path if len(path) <= 200 else path[:199] + '…'} {self.problem}."


class _TooLong(Exception):
    """More than a body may contain, detected before all of it was read."""


class _Encoder:
    def __init__(self) -> None:
        self._left = MAX_BODY_BYTES  # each value needs at least one byte, and each text one per character

    def encode(self, value: Any, depth: int) -> Any:
        if not _is_plain(value):
            try:
                value = self._convert(value, depth)
            except (_Refused, _TooLong, DatabaseError):
                raise
            except Exception as error:  # a value's own code must not break a checkout
                raise _Refused(f"cannot be read: {type(error).__name__}") from error
        self._spend(len(value) if type(value) is str else 1)
        return value

    def _convert(self, value: Any, depth: int) -> Any:
        if isinstance(value, Enum):
            return self.encode(value.value, depth)
        if isinstance(value, str):
            return _text(value)
        if isinstance(value, int | float | Decimal):
            return _number(value)
        if isinstance(value, Mapping):
            return self._object(value, depth + 1)
        if isinstance(value, list | tuple | set | frozenset):
            return self._array(value, depth + 1)
        return _scalar(value)

    def _object(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        _check_depth(depth)
        encoded = {}
        for given, item in value.items():
            key = given if type(given) is str and len(given) <= MAX_KEY_LENGTH and _is_plain(given) else _key(given)
            self._spend(len(key))
            encoded[key] = self._item(item, key, depth)
        return encoded

    def _array(self, value: Any, depth: int) -> list[Any]:
        _check_depth(depth)
        items = [self._item(item, index, depth) for index, item in enumerate(value)]
        return sorted(items, key=repr) if isinstance(value, set | frozenset) else items

    def _item(self, item: Any, step: str | int, depth: int) -> Any:
        try:
            return self.encode(item, depth)
        except _Refused as refused:
            refused.steps.append(step)
            raise

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _TooLong


def _is_plain(value: Any) -> bool:
    """Return whether a value can be used as it is: most can, and a capture should be cheap."""
    kind = type(value)
    if kind is str:
        return value.isascii() and "\0" not in value
    if kind is int:
        return -(2**53) < value < 2**53  # type: ignore[no-any-return]
    return kind is bool or value is None


def _text(value: Any, prefix: str = "") -> str:
    text = plain_text(value)
    if problem := text_problem(text):
        raise _Refused(problem, prefix)
    return text


def _number(value: Any) -> int | float:
    try:
        number = Decimal(value) if isinstance(value, Decimal) else plain_number(value)
        as_float = float(number)
    except (OverflowError, TypeError, ValueError):
        as_float = math.inf
    if not math.isfinite(as_float):
        raise _Refused("is not a finite number that JSON can carry")
    if not isinstance(number, Decimal):
        return number
    return int(number) if number.copy_abs() < 10**15 and number == number.to_integral() else as_float


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise _Refused(f"has a key of type {type(key).__name__}: only strings can be keys")
    text = _text(key.value if isinstance(key, Enum) else key, "a key of ")
    if len(text) > MAX_KEY_LENGTH:
        raise _Refused(f"is {len(text)} characters long: {MAX_KEY_LENGTH} at most", "a key of ")
    return text


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _Refused(f"is nested more than {MAX_DEPTH} deep")


def _scalar(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return dt.datetime.isoformat(timezone.make_aware(value) if timezone.is_naive(value) else value)
    if isinstance(value, dt.date):
        return dt.date.isoformat(value)
    if isinstance(value, UUID | Promise):
        return _text(value)
    kind = type(value).__name__
    raise _Refused(f"is of type {kind}, which JSON cannot carry: give its fields, as snapshot() does")


def _shown_step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if "@" in step:
        return ".…"  # the key may be an address, which no message may show
    return f".{step}" if _SIMPLE_KEY.fullmatch(step) else f"[{shown(step)}]"
