"""
The settings: the dict ``BREVO_EVENTS``, then the environment, then the default.

Only this module reads ``django.conf.settings``, and only this one and ``options``
read the environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from brevo_events.endpoints import TRACK_EVENT_URL
from brevo_events.exceptions import InvalidSetting
from brevo_events.options import ENVIRONMENT_PREFIX, Option, address, between, from_environment, safe_url, span_or_spans
from brevo_events.secrets import HEADERS, Secret, ask_for_key

ENGINES = {
    "thread": "brevo_events.engines.thread.ThreadEngine",
    "inline": "brevo_events.engines.inline.InlineEngine",
    "worker": "brevo_events.engines.base.Engine",
    "celery": "brevo_events.contrib.celery.CeleryEngine",
    "tasks": "brevo_events.contrib.tasks.TasksEngine",
}

T = TypeVar("T")


def is_testing() -> bool:
    """Return whether Django's test environment is set up, by the mark that ``setup_test_environment`` leaves."""
    # Not by mail.outbox, because the locmem e-mail backend creates that on staging sites too.
    test_utils = sys.modules.get("django.test.utils")
    return hasattr(getattr(test_utils, "_TestState", None), "saved_data")


class Settings:
    """Each setting as a typed and validated attribute; reading an invalid one raises ``InvalidSetting``."""

    URL = Option(str, TRACK_EVENT_URL, safe_url)
    TRANSPORT = Option(str, lambda: "locmem" if is_testing() else "http")  # short name or dotted path
    ENGINE = Option(str, lambda: "inline" if is_testing() else "thread")  # short name or dotted path
    POLL_SECONDS = Option(float, 0.1, between(0.01, 60))  # between polls of an idle send_brevo_events --loop
    ENABLED = Option(bool, True, otherwise=True)
    TIMEOUT = Option(float, 10.0, between(0.1, 60))  # seconds; a whole attempt may take twice that
    CONCURRENCY = Option(int, 16, between(1, 256))  # requests in flight in one process
    MAX_ATTEMPTS = Option(int, 12, between(1, 100))
    RETRY_BACKOFF = Option(float, 30.0, between(0, 3600))  # seconds
    EXPIRES: Option[Any] = Option(float, None, span_or_spans, accepts=(int, float, timedelta, Mapping), otherwise=None)
    CONSENT: Option[Any] = Option(str, None, accepts=(str, Callable))  # (event: Event) -> bool, or its dotted path
    RAISE_ERRORS = Option(bool, lambda: is_debug() or is_testing(), otherwise=False)
    RETENTION_DAYS = Option(float, 30.0, between(0, 36_500))
    FAILED_RETENTION_DAYS = Option(float, 90.0, between(0, 36_500))
    OVERRIDE_EMAIL: Option[str | None] = Option(str, None, address)

    def __init__(self) -> None:
        self._given: dict[str, Any] = {}

    @classmethod
    def options(cls) -> dict[str, Option[Any]]:
        """Return each key with its option, except those in ``secrets``, which must never be printed."""
        return {key: option for key, option in vars(cls).items() if isinstance(option, Option)}

    @property
    def attempt_deadline(self) -> float:
        """The seconds after which a whole attempt is cut off."""
        return 2 * self.TIMEOUT

    def ma_key(self) -> Secret:
        """Return the key, empty if none is set; a callable is called each time."""
        return self._secret("MA_KEY")

    def api_key(self) -> Secret:
        """Return the API v3 key, empty if none is set; a callable is called each time."""
        return self._secret("API_KEY")

    @property
    def is_strict(self) -> bool:
        """Whether an invalid value raises even if the code could do without it."""
        return is_debug() or is_testing()

    def expires_after(self, name: str) -> float | None:
        """Return the seconds after which events of a name expire by default, or None if they don't."""
        expires = self.EXPIRES
        span = expires.get(name) if isinstance(expires, Mapping) else expires
        return span.total_seconds() if isinstance(span, timedelta) else span

    def consent(self) -> Callable[[Any], Any] | None:
        """Return the project's consent function, or None; raises ``InvalidSetting``."""
        found = asked = self.CONSENT
        if isinstance(asked, str):
            try:
                found = import_string(asked)
            except (ImportError, TypeError, ValueError) as error:
                raise InvalidSetting(f"BREVO_EVENTS['CONSENT'] is {asked!r}, which cannot be imported.") from error
        # An async function returns a coroutine, which is always true.
        if asked is not None and (not callable(found) or iscoroutinefunction(found)):
            raise InvalidSetting(f"BREVO_EVENTS['CONSENT'] is {asked!r}, which is not a plain function.")
        return cast("Callable[[Any], Any] | None", found)

    def has_callable_key(self, setting: str = "MA_KEY") -> bool:
        """Return whether the project has set a key to a callable."""
        return callable(self._key_given(setting))

    def _secret(self, setting: str) -> Secret:
        key = self._key_given(setting)
        secret = ask_for_key(setting, key) if callable(key) else key
        if problem := secret.problem():
            raise InvalidSetting(f"BREVO_EVENTS[{setting!r}] {problem}.")
        return secret

    def _key_given(self, setting: str) -> Secret | Callable[[], str]:
        if setting not in self._given:
            self._given[setting] = self._look_up_key(setting)
        return self._given[setting]  # type: ignore[no-any-return]

    @staticmethod
    def _look_up_key(setting: str) -> Secret | Callable[[], str]:
        places: list[tuple[Mapping[str, Any], str]] = [
            (configured(), setting),
            (os.environ, f"{ENVIRONMENT_PREFIX}{setting}"),
        ]
        if setting == "MA_KEY":
            places.append((os.environ, "BREVO_MA_KEY"))
        for source, name in places:
            if name in source:
                found = "" if source[name] is None and setting == "API_KEY" else source[name]
                return found if callable(found) else Secret(found, HEADERS[setting])
        return Secret("", HEADERS[setting])

    def given(self, key: str, kind: type[Any]) -> Any:
        """Return the project's value for a key, cached, or ``UNSET``."""
        if key not in self._given:
            self._given[key] = configured()[key] if key in configured() else from_environment(key, kind)
        return self._given[key]

    def is_overruled(self, key: str) -> bool:
        """Return whether a key's environment variable has no effect, because the dict has another value."""
        variable = f"{ENVIRONMENT_PREFIX}{key}"
        if key not in configured() or variable not in os.environ:
            return False
        if key in HEADERS:
            return bool(os.environ[variable] != configured()[key])
        try:
            return bool(from_environment(key, self.options()[key].kind) != configured()[key])
        except InvalidSetting:
            return True

    def class_named(self, key: str, short_names: Mapping[str, str], base: type[T]) -> type[T]:
        """Return the class that a setting names with a short name or dotted path; raises ``InvalidSetting``."""
        name = getattr(self, key)
        try:
            found = import_string(short_names.get(name, name))
        except (ImportError, TypeError, ValueError) as error:
            advice = f"use {', '.join(short_names)} or the dotted path of a class"
            # The module for a short name always exists, so a package that it needs must be missing.
            problem = str(error) if name in short_names else advice
            raise InvalidSetting(f"BREVO_EVENTS[{key!r}] is {name!r}: {problem}.") from error
        if not (isinstance(found, type) and issubclass(found, base)):
            raise InvalidSetting(f"BREVO_EVENTS[{key!r}] is {name!r}, which is not a subclass of {base.__name__}.")
        return found

    def forget(self) -> None:
        """Look up every setting again when it is next used."""
        self._given.clear()


def configured() -> Mapping[str, Any]:
    """Return the project's dict, or an empty one."""
    if not isinstance(found := getattr(django_settings, "BREVO_EVENTS", {}), Mapping):
        raise InvalidSetting(f"BREVO_EVENTS must be a dict, not {type(found).__name__}.")
    return found


def is_debug() -> bool:
    """Return whether the project runs with ``DEBUG``."""
    return bool(django_settings.DEBUG)


def uses_time_zones() -> bool:
    """Return whether the project stores times with their time zone."""
    return bool(django_settings.USE_TZ)


def _forget_changed(*, setting: str, **kwargs: object) -> None:
    if setting == "BREVO_EVENTS":
        settings.forget()


settings = Settings()
setting_changed.connect(_forget_changed, dispatch_uid="brevo_events.conf")
