"""System checks: what can be wrong with the settings, each with what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from django.apps import AppConfig, apps
from django.core import checks
from django.db import connections, models, router
from django.db.models.signals import ModelSignal

from brevo_events import conf, engines, registration, transports
from brevo_events.conf import settings
from brevo_events.engines.thread import threads_are_off
from brevo_events.exceptions import InvalidSetting
from brevo_events.models import OutboxEvent

# https://developers.brevo.com/docs/getting-started-with-rest-implementation
WHERE_KEY_IS = "It is in Brevo's menu Automation, in the JavaScript tracker: the client_key, 24 letters and digits."


def register() -> None:
    """Have Django run the checks."""
    for check in (
        check_settings,
        check_key,
        check_transport,
        check_override,
        check_databases,
        check_senders,
        check_threads,
    ):
        checks.register(check)


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check that each key is known and has a usable value."""
    try:
        given = conf.configured()
    except InvalidSetting as error:
        return [_error(error, 'Write it as BREVO_EVENTS = {"MA_KEY": …} in your settings.', "E002")]
    known = [*settings.options(), "MA_KEY"]
    problems = [unknown_key(str(key), known) for key in given if key not in known]
    for key in settings.options():
        problems += _invalid(partial(getattr, settings, key), "E002", "Correct the value, or leave the key out.")
    loaded = (
        (transports.transport_class, "TRANSPORT"),
        (engines.current, "ENGINE"),
        (settings.consent, "CONSENT"),
    )
    for load, hint in loaded:
        if not any(f"[{hint!r}]" in problem.msg for problem in problems):
            problems += _invalid(load, "E003", f"Correct the spelling of {hint}, or install what it names.")
    return problems


def unknown_key(key: str, known: list[str]) -> checks.CheckMessage:
    """Return the error for a key that does not exist, with the nearest one that does."""
    nearest = difflib.get_close_matches(key.upper(), known, n=1, cutoff=0.5)
    hint = f"Did you mean {nearest[0]!r}?" if nearest else f"The keys are: {', '.join(sorted(known))}."
    return _error(f"BREVO_EVENTS has the unknown key {key!r}.", hint, "E001")


def check_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check the ma-key, where a transport needs one; a callable is left alone, since it may ask a server."""
    if conf.is_testing() or _setting_of("TRANSPORT") != "http" or settings.has_callable_key():
        return []
    try:
        key = settings.ma_key()
    except InvalidSetting as error:
        return [_error(error, f"Copy the key again. {WHERE_KEY_IS}", "E002")]
    if not key:
        hint = f"Events are kept in the outbox, but none can be sent. {WHERE_KEY_IS}"
        return [checks.Warning("BREVO_EVENTS['MA_KEY'] is not set.", hint=hint, id="brevo_events.W001")]
    if key.reveal().startswith("xkeysib-"):
        return [_error("BREVO_EVENTS['MA_KEY'] is a key of Brevo's API v3.", f"Set the ma-key. {WHERE_KEY_IS}", "E005")]
    return []


def check_transport(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn about a project under development that would write to a real account."""
    try:
        is_live = settings.TRANSPORT == "http" and not conf.is_loopback(settings.URL)
        is_live = is_live and not settings.has_callable_key() and bool(settings.ma_key())
    except InvalidSetting:
        return []
    if not (is_live and conf.is_debug()):
        return []
    hint = "If this is not your production site, set TRANSPORT to 'console', or ENABLED to False."
    return [checks.Warning("DEBUG is on, and events go to a real Brevo account.", hint=hint, id="brevo_events.W002")]


def check_override(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn that all events go out for one address."""
    if not _setting_of("OVERRIDE_EMAIL"):
        return []
    hint = "That is right for staging. In production, leave OVERRIDE_EMAIL out."
    message = "BREVO_EVENTS['OVERRIDE_EMAIL'] is on: every event goes out for that address instead of its contact's."
    return [checks.Warning(message, hint=hint, id="brevo_events.W007")]


def check_databases(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check how the outbox's database locks, and keeps time."""
    problems = list(_locking_problems(router.db_for_write(OutboxEvent)))
    if not conf.uses_time_zones():
        problems.append(_error("brevo_events needs time zones.", "Set USE_TZ = True, Django's default.", "E007"))
    return problems


def check_senders(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check what ``track_on`` listens to: that it exists, and shares the outbox's database."""
    problems: list[checks.CheckMessage] = []
    outbox_on = router.db_for_write(OutboxEvent)
    for registered in registration.registrations:
        # What a signal of the project's own sends may be any text.
        is_of_models = any(isinstance(signal, ModelSignal) for signal in registered.signals)
        for sender in registered.senders:
            name = registered.function.__qualname__
            model = _model_named(sender) if isinstance(sender, str) else sender
            if model is None and sender is not None and is_of_models:
                hint = "Write it as 'app_label.Model', of an app in INSTALLED_APPS."
                problems.append(_error(f"track_on of {name} names {sender!r}, which is no model.", hint, "E006"))
            if isinstance(model, type) and issubclass(model, models.Model) and router.db_for_write(model) != outbox_on:
                problems.append(_other_database(name, model, outbox_on))
    return problems


def check_threads(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check that the server lets the thread engine run."""
    if _setting_of("ENGINE") != "thread" or not threads_are_off():
        return []
    hint = "Set enable-threads in uWSGI's configuration, or ENGINE to 'worker'."
    return [checks.Warning("uWSGI runs without threads: nothing is delivered.", hint=hint, id="brevo_events.W006")]


def _locking_problems(using: str) -> Iterator[checks.CheckMessage]:
    connection = connections[using]
    options = connection.settings_dict.get("OPTIONS", {})
    mode = options.get("transaction_mode") or ""
    if connection.vendor == "sqlite" and mode.upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        yield checks.Warning(
            f"The SQLite database {using!r} locks too late: requests can fail with 'database is locked'.",
            hint=f"Set DATABASES[{using!r}]['OPTIONS'] = {{'transaction_mode': 'IMMEDIATE'}}.",
            id="brevo_events.W003",
        )
    isolation = options.get("isolation_level", "read committed") or ""  # None leaves it to the server
    if connection.vendor == "mysql" and isolation.lower() != "read committed":
        yield checks.Warning(
            f"The database {using!r} does not run at READ COMMITTED: workers may wait for each other.",
            hint=f"Leave isolation_level out of DATABASES[{using!r}]['OPTIONS']: Django's default is the right one.",
            id="brevo_events.W005",
        )


def _other_database(name: str, model: type[models.Model], outbox_on: str) -> checks.CheckMessage:
    return checks.Warning(
        f"track_on of {name} listens to {model._meta.label}, which is not on the outbox's database {outbox_on!r}.",
        hint=(
            "Its events are written after the model's commit: a crash in between loses them. "
            "Route brevo_events to the same database if that matters."
        ),
        id="brevo_events.W004",
    )


def _model_named(name: str) -> type[models.Model] | None:
    try:
        return apps.get_model(name)
    except (LookupError, ValueError):
        return None


def _setting_of(key: str) -> Any:
    try:
        return getattr(settings, key)
    except InvalidSetting:
        return None


def _invalid(read: Callable[[], Any], number: str, hint: str) -> list[checks.CheckMessage]:
    try:
        read()
    except InvalidSetting as error:
        return [_error(error, hint, "E004" if "['URL']" in str(error) else number)]
    return []


def _error(message: object, hint: str, number: str) -> checks.CheckMessage:
    return checks.Error(str(message), hint=hint, id=f"brevo_events.{number}")
