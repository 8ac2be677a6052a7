"""
The settings: the dict ``BREVO_EVENTS``, then the environment, then the default.

This is the only reader of ``django.conf.settings`` and of the environment.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Generic, TypeVar, cast, overload
from urllib.parse import urlsplit

import environ
from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from brevo_events.exceptions import InvalidSetting

logger = logging.getLogger(__name__)

T = TypeVar("T")

TRACK_EVENT_URL = "https://in-automate.brevo.com/api/v2/trackEvent"
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")

MAX_EXPIRES = 366 * 24 * 3600  # seconds

_UNSET: Any = object()
_FALSE = ("false", "off", "n", "no", "0")


def is_testing() -> bool:
    """Return whether Django's test environment is set up, as ``setup_test_environment`` itself tells."""
    # Not by mail.outbox: the locmem e-mail backend leaves that behind on staging sites too.
    test_utils = sys.modules.get("django.test.utils")
    return hasattr(getattr(test_utils, "_TestState", None), "saved_data")


def is_loopback(url: str) -> bool:
    """Return whether a URL points to this machine."""
    return urlsplit(url).hostname in LOOPBACK_HOSTS


class Secret:
    """Hold the ma-key so that no ``repr``, log line or error page shows it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret('…')" if self else "Secret('')"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def reveal(self) -> str:
        """Return the key itself: only for the header of a request."""
        return self._value

    def remove_from(self, text: str) -> str:
        """Return the text with each occurrence of the key blotted out."""
        return text.replace(self._value, "[ma-key]") if self else text

    def problem(self) -> str:
        """Return what makes the key unusable, without showing it, or an empty text."""
        if not isinstance(self._value, str):
            return "must be a string, or a callable that returns one"
        if any(not "!" <= character <= "~" for character in self._value):
            return "has a character that a header cannot carry: a line break, a space or an accented letter"
        return ""


class Option(Generic[T]):
    """
    Describe one key: its type, its default, and what its value must satisfy.

    ``check`` returns what is wrong with a value, or an empty text. A callable
    default is asked each time, since it depends on the surroundings. ``kind``
    is what a text of the environment becomes; with ``accepts``, a value in the
    dict may also be of other types.
    """

    def __init__(
        self,
        kind: type[T],
        default: T | Callable[[], T],
        check: Callable[[Any], str] = lambda _value: "",
        *,
        accepts: tuple[Any, ...] = (),
    ) -> None:
        self.kind = kind
        self.default = default
        self.check = check
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
        value = instance.given(self.key, self.kind)
        if value is _UNSET:
            return self.default() if callable(self.default) else self.default
        if problem := self._problem(value):
            raise InvalidSetting(f"BREVO_EVENTS[{self.key!r}] is {value!r}: it {problem}.")
        return cast("T", float(value) if self.kind is float and isinstance(value, int) else value)

    def _problem(self, value: Any) -> str:
        if value is None and self.default is None:
            return ""
        if not isinstance(value, self.accepts) or (isinstance(value, bool) and self.kind is not bool):
            return f"must be of type {self.type_name}"
        return self.check(value)


def _between(lowest: float, highest: float) -> Callable[[float], str]:
    return lambda value: "" if lowest <= value <= highest else f"must be from {lowest} to {highest}"


def _safe_url(url: str) -> str:
    # Python and urllib3 disagree about which host a URL with these names.
    if "\\" in url or any(character.isspace() or not character.isprintable() for character in url):
        return "must be a URL"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        return "must be a URL"
    if parts.scheme == "https" and parts.hostname and not parts.hostname.startswith(("*", ".")):
        return ""
    if parts.scheme == "http" and is_loopback(url):
        return ""
    return "must begin with https:// (http:// is for loopback only, since the key travels with each request)"


def _span_or_spans(value: Any) -> str:
    spans = value.values() if isinstance(value, Mapping) else [value]
    for span in spans:
        seconds = span.total_seconds() if isinstance(span, timedelta) else span
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= MAX_EXPIRES:
            return "must be seconds or a timedelta, from more than 0 to 366 days, or a dict of those by event name"
    return ""


def _address(value: str) -> str:
    return "" if not value or re.fullmatch(r"[^@\s]+@[^@\s]+", value) else "must be one e-mail address"


class Settings:
    """Give each setting as an attribute, typed and checked; ``InvalidSetting`` is raised where it is read."""

    URL = Option(str, TRACK_EVENT_URL, _safe_url)
    TRANSPORT = Option(str, lambda: "locmem" if is_testing() else "http")  # short name or dotted path
    ENGINE = Option(str, lambda: "inline" if is_testing() else "thread")  # short name or dotted path
    ENABLED = Option(bool, True)
    TIMEOUT = Option(float, 10.0, _between(0.1, 60))  # seconds; a whole attempt may take twice that
    CONCURRENCY = Option(int, 16, _between(1, 256))  # requests in flight in one process
    MAX_ATTEMPTS = Option(int, 12, _between(1, 100))
    RETRY_BACKOFF = Option(float, 30.0, _between(0, 3600))  # seconds
    EXPIRES: Option[Any] = Option(float, None, _span_or_spans, accepts=(int, float, timedelta, Mapping))
    CONSENT: Option[Any] = Option(str, None, accepts=(str, Callable))  # (event: Event) -> bool, or its dotted path
    RAISE_ERRORS = Option(bool, lambda: bool(django_settings.DEBUG) or is_testing())
    RETENTION_DAYS = Option(float, 30.0, _between(0, 36_500))
    FAILED_RETENTION_DAYS = Option(float, 90.0, _between(0, 36_500))
    OVERRIDE_EMAIL: Option[str | None] = Option(str, None, _address)

    def __init__(self) -> None:
        self._given: dict[str, Any] = {}

    @classmethod
    def options(cls) -> dict[str, Option[Any]]:
        """Return each key with its description, but for ``MA_KEY``, which nothing may print."""
        return {key: option for key, option in vars(cls).items() if isinstance(option, Option)}

    @property
    def attempt_deadline(self) -> float:
        """Return the seconds after which a whole attempt is cut off."""
        return 2 * self.TIMEOUT

    def ma_key(self) -> Secret:
        """Return the key, empty where none is set; a callable is asked again each time."""
        key = self._ma_key_given()
        secret = _asked(key) if callable(key) else key
        if problem := secret.problem():
            raise InvalidSetting(f"BREVO_EVENTS['MA_KEY'] {problem}.")
        return secret

    @property
    def is_enabled(self) -> bool:
        """Return ENABLED; where that is wrong in production, it is logged, and events are kept."""
        return bool(self._without_breaking("ENABLED", True))

    @property
    def raises_errors(self) -> bool:
        """Return RAISE_ERRORS; where that is wrong in production, it is logged, and nothing raises."""
        return bool(self._without_breaking("RAISE_ERRORS", False))

    def expires_after(self, name: str) -> float | None:
        """Return the seconds after which events of a name expire by themselves, None where they do not."""
        expires = self._without_breaking("EXPIRES", None)
        span = expires.get(name) if isinstance(expires, Mapping) else expires
        return span.total_seconds() if isinstance(span, timedelta) else span

    def consent(self) -> Callable[[Any], Any] | None:
        """Return the project's function that is asked for consent, if there is one; raises ``InvalidSetting``."""
        if not isinstance(asked := self.CONSENT, str):
            return cast("Callable[[Any], Any] | None", asked)
        try:
            found = import_string(asked)
        except (ImportError, TypeError, ValueError) as error:
            raise InvalidSetting(f"BREVO_EVENTS['CONSENT'] is {asked!r}, which cannot be imported.") from error
        if not callable(found):
            raise InvalidSetting(f"BREVO_EVENTS['CONSENT'] is {asked!r}, which is no function.")
        return cast("Callable[[Any], Any]", found)

    def _without_breaking(self, key: str, fallback: Any) -> Any:
        # A checkout reads these: a typing error in them must not end it.
        try:
            return getattr(self, key)
        except InvalidSetting as error:
            if is_debug() or is_testing():
                raise
            logger.error("%s", error)  # noqa: TRY400 - the message says it all
            return fallback

    def has_callable_key(self) -> bool:
        """Return whether the project gives a callable for ``MA_KEY``."""
        return callable(self._ma_key_given())

    def _ma_key_given(self) -> Secret | Callable[[], str]:
        if "MA_KEY" not in self._given:
            self._given["MA_KEY"] = self._look_up_key()
        return self._given["MA_KEY"]  # type: ignore[no-any-return]

    @staticmethod
    def _look_up_key() -> Secret | Callable[[], str]:
        for source, name in (
            (configured(), "MA_KEY"),
            (os.environ, "BREVO_EVENTS_MA_KEY"),
            (os.environ, "BREVO_MA_KEY"),
        ):
            if name in source:
                return found if callable(found := source[name]) else Secret(found)
        return Secret("")

    def given(self, key: str, kind: type[Any]) -> Any:
        """Return what the project sets for a key, looked up once, or the mark for nothing."""
        if key not in self._given:
            self._given[key] = configured()[key] if key in configured() else _from_environment(key, kind)
        return self._given[key]

    def class_named(self, key: str, short_names: Mapping[str, str], base: type[T]) -> type[T]:
        """Return the class that a setting names, shortly or by its dotted path; raises ``InvalidSetting``."""
        name = getattr(self, key)
        try:
            found = import_string(short_names.get(name, name))
        except (ImportError, TypeError, ValueError) as error:
            raise InvalidSetting(
                f"BREVO_EVENTS[{key!r}] is {name!r}: use {', '.join(short_names)} or the dotted path of a class."
            ) from error
        if not (isinstance(found, type) and issubclass(found, base)):
            raise InvalidSetting(f"BREVO_EVENTS[{key!r}] is {name!r}, which is no subclass of {base.__name__}.")
        return found

    def forget(self) -> None:
        """Look everything up again at the next use."""
        self._given.clear()


def _asked(key: Callable[[], str]) -> Secret:
    try:
        return Secret(key())
    except Exception as error:  # noqa: BLE001 - its frames may hold the key
        problem = type(error).__name__
    raise InvalidSetting(f"BREVO_EVENTS['MA_KEY'] is a callable, which raised {problem}.")


def configured() -> Mapping[str, Any]:
    """Return the project's dict, or an empty one."""
    if not isinstance(found := getattr(django_settings, "BREVO_EVENTS", {}), Mapping):
        raise InvalidSetting(f"BREVO_EVENTS must be a dict, not {type(found).__name__}.")
    return found


def is_debug() -> bool:
    """Return whether the project runs with ``DEBUG``."""
    return bool(django_settings.DEBUG)


def uses_time_zones() -> bool:
    """Return whether the project stores moments with their time zone."""
    return bool(django_settings.USE_TZ)


def _from_environment(key: str, kind: type[Any]) -> Any:
    name = f"BREVO_EVENTS_{key}"
    if name not in os.environ:
        return _UNSET
    try:
        return environ.Env().get_value(name, cast=_STRICT.get(kind, kind))
    except ValueError as error:
        raise InvalidSetting(f"{name} is {os.environ[name]!r}: it must be of type {kind.__name__}.") from error


def _switch(text: str) -> bool:
    # django-environ would take a misspelt "ture" for False.
    word = text.strip().lower()
    if word not in environ.Env.BOOLEAN_TRUE_STRINGS and word not in _FALSE:
        raise ValueError(text)
    return word not in _FALSE


def _number(text: str) -> float:
    # django-environ would leave out what is no digit: an hour written as "1h" would be a second.
    return float(text)


_STRICT: dict[type[Any], Callable[[str], Any]] = {bool: _switch, float: _number}


def _forget_changed(*, setting: str, **kwargs: object) -> None:
    if setting == "BREVO_EVENTS":
        settings.forget()


settings = Settings()
setting_changed.connect(_forget_changed, dispatch_uid="brevo_events.conf")
