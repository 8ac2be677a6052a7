"""The description of one setting: its type, default and checks, and how the environment sets it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload
from urllib.parse import urlsplit

import environ

from brevo_events.addresses import problem_of
from brevo_events.endpoints import is_loopback
from brevo_events.exceptions import InvalidSetting

if TYPE_CHECKING:
    from brevo_events.conf import Settings

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_EXPIRES = 366 * 24 * 3600  # seconds

UNSET: Any = object()
ENVIRONMENT_PREFIX = "BREVO_EVENTS_"
_FALSE = ("false", "off", "n", "no", "0")


class Option(Generic[T]):
    """
    One key: its type, its default, and its valid values.

    ``check`` returns what is wrong with a value, or an empty string. A callable
    default is called each time, because it depends on the environment. ``kind``
    is the type that a string from the environment is converted to; with
    ``accepts``, a value in the dict may also have other types. ``otherwise``
    replaces an invalid value in production: it is for settings that a checkout
    reads, which must not fail because of them.
    """

    def __init__(
        self,
        kind: type[T],
        default: T | Callable[[], T],
        check: Callable[[Any], str] = lambda _value: "",
        *,
        accepts: tuple[Any, ...] = (),
        otherwise: Any = UNSET,
    ) -> None:
        self.kind = kind
        self.default = default
        self.check = check
        self.otherwise = otherwise
        self.accepts = accepts or ((int, float) if kind is float else (kind,))
        self.type_name = " or ".join(each.__name__ for each in accepts or (kind,))

    def __set_name__(self, owner: type[Settings], key: str) -> None:
        self.key = key

    @overload
    def __get__(self, instance: None, owner: type[Settings]) -> Option[T]: ...
    @overload
    def __get__(self, instance: Settings, owner: type[Settings]) -> T: ...
    def __get__(self, instance: Settings | None, owner: type[Settings]) -> T | Option[T]:
        if instance is None:
            return self
        try:
            return self.read(instance)
        except InvalidSetting as error:
            if self.otherwise is UNSET or instance.is_strict:
                raise
            logger.error("%s", error)  # noqa: TRY400 - the message says it all
            return self.otherwise  # type: ignore[no-any-return]

    def read(self, instance: Settings) -> T:
        """Return the value; raises ``InvalidSetting`` if it is invalid, whatever ``otherwise`` says."""
        value = instance.given(self.key, self.kind)
        if value is UNSET:
            return self.default() if callable(self.default) else self.default
        if problem := self._problem(value):
            raise InvalidSetting(f"BREVO_EVENTS[{self.key!r}] is {_without_password(value)}: it {problem}.")
        return cast("T", float(value) if self.kind is float and isinstance(value, int) else value)

    def _problem(self, value: Any) -> str:
        if value is None and self.default is None:
            return ""
        if not isinstance(value, self.accepts) or (isinstance(value, bool) and self.kind is not bool):
            return f"must be of type {self.type_name}"
        return self.check(value)


def between(lowest: float, highest: float) -> Callable[[float], str]:
    return lambda value: "" if lowest <= value <= highest else f"must be from {lowest} to {highest}"


def safe_url(url: str) -> str:
    # Python and urllib3 disagree about which host a URL with these characters names.
    if "\\" in url or any(character.isspace() or not character.isprintable() for character in url):
        return "must be a URL"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        return "must be a URL"
    if "@" in parts.netloc:
        return "must be a URL without user and password"
    if parts.scheme == "https" and parts.hostname and not parts.hostname.startswith(("*", ".")):
        return ""
    if parts.scheme == "http" and is_loopback(url):
        return ""
    return "must begin with https:// (http:// is for loopback only, since the key travels with each request)"


def _without_password(value: Any) -> str:
    return re.sub(r"(//[^/?#@:\\]*):[^/?#\\]*@", r"\1:…@", repr(value))


def span_or_spans(value: Any) -> str:
    spans = value.values() if isinstance(value, Mapping) else [value]
    for span in spans:
        seconds = span.total_seconds() if isinstance(span, timedelta) else span
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= MAX_EXPIRES:
            return "must be seconds or a timedelta, from more than 0 to 366 days, or a dict of those by event name"
    return ""


def address(value: str) -> str:
    return "" if not value or not problem_of(value) else "must be one e-mail address"


def from_environment(key: str, kind: type[Any]) -> Any:
    name = ENVIRONMENT_PREFIX + key
    if name not in os.environ:
        return UNSET
    try:
        return environ.Env().get_value(name, cast=_STRICT.get(kind, kind))
    except ValueError as error:
        raise InvalidSetting(f"{name} is {os.environ[name]!r}: it must be of type {kind.__name__}.") from error


def keys_in_environment() -> list[str]:
    """Return each key that an environment variable is named after, known or unknown."""
    return sorted(name.removeprefix(ENVIRONMENT_PREFIX) for name in os.environ if name.startswith(ENVIRONMENT_PREFIX))


def _switch(text: str) -> bool:
    # django-environ would read a misspelt "ture" as False.
    word = text.strip().lower()
    if word not in environ.Env.BOOLEAN_TRUE_STRINGS and word not in _FALSE:
        raise ValueError(text)
    return word not in _FALSE


def _number(text: str) -> float:
    # django-environ would drop non-digits: an hour written as "1h" would become one second.
    return float(text)


_STRICT: dict[type[Any], Callable[[str], Any]] = {bool: _switch, float: _number}
