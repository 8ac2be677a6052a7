from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.functional import Promise

from brevo_events.exceptions import InvalidEvent

MAX_DEPTH = 20


def encode(value: Any, path: str, depth: int = 0) -> Any:
    """
    Return a copy of a value that is made of JSON's own types only.

    A Decimal becomes a number, since Brevo's workflow conditions compare
    numbers; a date becomes ISO 8601, a naive datetime in the current time zone.
    ``path`` names the value in the message of ``InvalidEvent``.
    """
    if _is_plain(value):
        return value
    if isinstance(value, Enum):
        return encode(value.value, path, depth)
    if isinstance(value, str):
        return check_text(value, path)
    if isinstance(value, int | float | Decimal):
        return _number(value, path)
    if isinstance(value, Mapping):
        return _object(value, path, depth + 1)
    if isinstance(value, list | tuple | set | frozenset):
        return _array(value, path, depth + 1)
    return _scalar(value, path)


def check_text(value: str, path: str) -> str:
    """Return the text, or refuse what a database or a JSON reader would refuse: NUL and lone surrogates."""
    if "\0" in value:
        raise InvalidEvent(f"{path} contains a NUL character.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidEvent(f"{path} contains a lone surrogate, which is no character.") from error
    return str(value)


def _is_plain(value: Any) -> bool:
    """Return whether a value needs nothing done to it: most do not, and a capture should cost little."""
    kind = type(value)
    if kind is str:
        return value.isascii() and "\0" not in value
    if kind is int:
        return -(2**53) < value < 2**53  # type: ignore[no-any-return]
    return kind is bool or value is None


def _number(value: float | Decimal, path: str) -> int | float:
    if isinstance(value, Decimal) and value.is_finite() and value.copy_abs() < 10**15 and value == value.to_integral():
        return int(value)
    try:
        as_float = float(value)
    except (OverflowError, TypeError, ValueError):
        as_float = math.inf
    if not math.isfinite(as_float):
        raise InvalidEvent(f"{path} is not a finite number that JSON can carry.")
    return int(value) if isinstance(value, int) else as_float


def _object(value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    _check_depth(path, depth)
    encoded = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise InvalidEvent(f"{path} has a key of type {type(key).__name__}: only strings can be keys.")
        if not _is_plain(key):
            key = _plain_key(key, path)
        # An address may be a key, and no message shows one.
        encoded[key] = item if _is_plain(item) else encode(item, f"{path}.{'…' if '@' in key else key}", depth)
    return encoded


def _plain_key(key: str, path: str) -> str:
    return check_text(str(key.value if isinstance(key, Enum) else key), f"a key of {path}")


def _array(value: Any, path: str, depth: int) -> list[Any]:
    _check_depth(path, depth)
    items = [encode(item, f"{path}[{index}]", depth) for index, item in enumerate(value)]
    return sorted(items, key=repr) if isinstance(value, set | frozenset) else items


def _check_depth(path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidEvent(f"{path[:200]} is nested more than {MAX_DEPTH} deep.")


def _scalar(value: Any, path: str) -> str:
    if isinstance(value, dt.datetime):
        return (timezone.make_aware(value) if timezone.is_naive(value) else value).isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Promise):
        return check_text(str(value), path)
    raise InvalidEvent(
        f"{path} is of type {type(value).__name__}, which JSON cannot carry: give its fields, as snapshot() does."
    )
