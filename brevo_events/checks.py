"""System checks: possible faults in settings, databases and receivers, each with a remedy."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from django.apps import AppConfig, apps
from django.core import checks
from django.db import connections, models, router
from django.db.models.signals import ModelSignal, post_delete, pre_delete

from brevo_events import conf, engines, health, options, registration, secrets, transports
from brevo_events.choices import Call
from brevo_events.conf import settings
from brevo_events.doctor.here import KEY_TAG, SETTINGS_TAG
from brevo_events.endpoints import is_loopback, is_usual, url_of
from brevo_events.exceptions import InvalidSetting
from brevo_events.models import OutboxEvent

OLDEST_MARIADB = (10, 6)


def register() -> None:
    """Register the checks with Django."""
    for check in (
        check_settings,
        check_engine,
        check_key,
        check_api_key,
        check_transport,
        check_url,
        check_override,
        check_databases,
        check_senders,
    ):
        checks.register(check, SETTINGS_TAG)
    checks.register(check_key, KEY_TAG)
    # Checks may query the database only when they are run by migrate or by check --database.
    checks.register(check_server, checks.Tags.database)


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check that each key is known and has a usable value."""
    try:
        # Only the names: if a check raises, its traceback must not show the key.
        given = list(conf.configured())
    except InvalidSetting as error:
        return [_error(error, 'Write it as BREVO_EVENTS = {"MA_KEY": …} in your settings.', "E002")]
    known = [*settings.options(), *secrets.HEADERS]
    problems = [unknown_key(str(key), known) for key in given if key not in known]
    problems += [unknown_variable(key, known) for key in options.keys_in_environment() if key not in known]
    problems += [overruled_variable(key) for key in known if settings.is_overruled(key)]
    for option in settings.options().values():
        problems += _invalid(partial(option.read, settings), "E002", "Correct the value, or leave the key out.")
    loaded = (
        (transports.transport_class, "TRANSPORT"),
        (engines.current, "ENGINE"),
        (settings.consent, "CONSENT"),
    )
    for load, key in loaded:
        if not any(f"[{key!r}]" in problem.msg for problem in problems):
            problems += _invalid(load, "E003", f"Correct the spelling of {key}, or install what it names.")
    return problems


def check_engine(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check that the engine's requirements are met, such as a task queue."""
    try:
        return engines.current().check()
    except InvalidSetting:
        return []


def unknown_key(key: str, known: list[str]) -> checks.CheckMessage:
    """Return the error for an unknown key, with the nearest known one."""
    return _error(f"BREVO_EVENTS has the unknown key {key!r}.", _nearest(key, known), "E001")


def unknown_variable(key: str, known: list[str]) -> checks.CheckMessage:
    """Return the warning for an environment variable without effect; it may belong to another program."""
    message = f"The environment variable {options.ENVIRONMENT_PREFIX}{key} has no effect: there is no such key."
    return checks.Warning(message, hint=_nearest(key, known), id="brevo_events.W008")


def overruled_variable(key: str) -> checks.CheckMessage:
    """Return the warning for an environment variable without effect, because the dict has another value."""
    variable = f"{options.ENVIRONMENT_PREFIX}{key}"
    message = f"The environment variable {variable} has no effect: BREVO_EVENTS[{key!r}] differs."
    hint = "The dict in your settings comes first: remove one of the two."
    return checks.Warning(message, hint=hint, id="brevo_events.W008")


def check_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check the ma-key if the transport needs one; a callable isn't called, because it may query a server."""
    if conf.is_testing() or _setting_of("TRANSPORT") != "http" or settings.has_callable_key():
        return []
    try:
        key = settings.ma_key()
    except InvalidSetting as error:
        return [_error(error, f"Copy the key again. {health.WHERE_KEY_IS}", "E002")]
    if not key:
        hint = f"Events are kept in the outbox, but none can be sent. {health.WHERE_KEY_IS}"
        return [checks.Warning("BREVO_EVENTS['MA_KEY'] is not set.", hint=hint, id="brevo_events.W001")]
    if key.is_of_api_v3:
        hint = f"Set the ma-key. {health.WHERE_KEY_IS}"
        return [_error("BREVO_EVENTS['MA_KEY'] is a key of Brevo's API v3.", hint, "E005")]
    return []


def check_api_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check the optional API v3 key; a callable isn't called, because it may query a server."""
    try:
        if settings.has_callable_key("API_KEY"):
            return []
    except InvalidSetting:  # BREVO_EVENTS isn't a dict, which check_settings reports
        return []
    return _invalid(settings.api_key, "E002", "Copy the key again, or leave it out: only brevo_events_doctor uses it.")


def check_transport(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn if a project under development would send to a real account."""
    try:
        is_live = settings.TRANSPORT == "http" and not is_loopback(settings.URL)
        is_live = is_live and not settings.has_callable_key() and bool(settings.ma_key())
    except InvalidSetting:
        return []
    if not (is_live and conf.is_debug()):
        return []
    hint = "If this is not your production site, set TRANSPORT to 'console', or ENABLED to False."
    return [
        checks.Warning("DEBUG is on, and events are sent to a real Brevo account.", hint=hint, id="brevo_events.W002")
    ]


def check_url(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn about a URL from which the URL for ``identify`` can only be guessed."""
    url = _setting_of("URL")
    if url is None or is_usual(url):
        return []
    message = f"BREVO_EVENTS['URL'] {url!r} does not end in /trackEvent."
    hint = f"identify() calls {url_of(Call.IDENTIFY, url)}: correct the URL, or make sure that it is answered there."
    return [checks.Warning(message, hint=hint, id="brevo_events.W014")]


def check_override(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn that all events are sent for one address."""
    if not _setting_of("OVERRIDE_EMAIL"):
        return []
    hint = "That is right for staging. In production, leave OVERRIDE_EMAIL out."
    message = "BREVO_EVENTS['OVERRIDE_EMAIL'] is on: every event is sent for that address instead of its contact's."
    return [checks.Warning(message, hint=hint, id="brevo_events.W007")]


def check_databases(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check the settings of the outbox's database for locking and time."""
    using = router.db_for_write(OutboxEvent)
    problems = [*_locking_problems(using), *_clock_problems(using)]
    if not conf.uses_time_zones():
        problems.append(_error("brevo_events needs time zones.", "Set USE_TZ = True, Django's default.", "E007"))
    return problems


def check_server(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Check that the outbox's database server is supported."""
    using = router.db_for_write(OutboxEvent)
    connection: Any = connections[using]
    if using not in (databases or ()) or connection.vendor != "mysql":
        return []
    if connection.mysql_is_mariadb and connection.mysql_version >= OLDEST_MARIADB:
        return []
    server = "MariaDB" if connection.mysql_is_mariadb else "MySQL"
    version = ".".join(map(str, connection.mysql_version))
    hint = "Use MariaDB 10.6 or newer, PostgreSQL, or SQLite; DATABASE_ROUTERS can put the outbox there alone."
    return [_error(f"The database {using!r} is {server} {version}, which brevo_events does not support.", hint, "E009")]


def check_senders(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check that the senders of ``track_on`` exist, share the outbox's database, and have no missed child models."""
    problems: list[checks.CheckMessage] = []
    outbox_on = router.db_for_write(OutboxEvent)
    for registered in registration.registrations:
        # The sender of a project's own signal may be any string.
        is_of_models = any(isinstance(signal, ModelSignal) for signal in registered.signals)
        name = registered.function.__qualname__
        for sender in registered.senders:
            model = _model_of(sender)
            if model is None and isinstance(sender, str) and is_of_models:
                hint = "Write it as 'app_label.Model', of an app in INSTALLED_APPS."
                problems.append(_error(f"track_on of {name} names {sender!r}, which is not a model.", hint, "E006"))
            if model and router.db_for_write(model) != outbox_on:
                problems.append(_other_database(name, model, outbox_on))
            if model and is_of_models and (unseen := _unseen_children(registered, model)):
                problems.append(_unseen(name, model, unseen))
    return problems


def _locking_problems(using: str) -> Iterator[checks.CheckMessage]:
    connection = connections[using]
    options = connection.settings_dict.get("OPTIONS", {})
    mode = options.get("transaction_mode") or ""
    if connection.vendor == "sqlite" and mode.upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        yield checks.Warning(
            f"The SQLite database {using!r} uses deferred transactions: requests can fail with 'database is locked'.",
            hint=f"Set DATABASES[{using!r}]['OPTIONS'] = {{'transaction_mode': 'IMMEDIATE'}}.",
            id="brevo_events.W003",
        )
    isolation = options.get("isolation_level", "read committed") or ""  # None: the server decides
    if connection.vendor == "mysql" and isolation.lower() != "read committed":
        yield checks.Warning(
            f"The database {using!r} does not run at READ COMMITTED: workers may wait for each other.",
            hint=f"Leave isolation_level out of DATABASES[{using!r}]['OPTIONS']: Django's default is the right one.",
            id="brevo_events.W005",
        )


def _clock_problems(using: str) -> Iterator[checks.CheckMessage]:
    connection = connections[using]
    zone = connection.settings_dict.get("TIME_ZONE")
    # Such a database has no time zone support: Django would use local times there, but the outbox UTC.
    if zone not in (None, "UTC", "Etc/UTC") and not connection.features.supports_timezones:
        message = f"DATABASES[{using!r}]['TIME_ZONE'] is {zone!r}, but the outbox keeps its times in UTC."
        yield _error(message, "Leave TIME_ZONE out there, or route brevo_events to another database.", "E008")


def _unseen_children(registered: registration.Registration, model: type[models.Model]) -> list[str]:
    """Return the child models and proxies whose signals the function does not get."""
    same = [each for each in registration.registrations if each.function is registered.function]
    heard = [_model_of(sender) for each in same for sender in each.senders]
    # Deleting a child also deletes its parent's row and sends the parent's signal; saving it doesn't.
    only_proxies = {signal for each in same for signal in each.signals} <= {pre_delete, post_delete}
    return [
        child._meta.label
        for child in model._meta.apps.get_models()
        if issubclass(child, model) and child not in heard and (child._meta.proxy or not only_proxies)
    ]


def _unseen(name: str, model: type[models.Model], children: list[str]) -> checks.CheckMessage:
    return checks.Warning(
        f"track_on of {name} listens to {model._meta.label}, but not to what is saved as {', '.join(children)}.",
        hint="Django sends the signals of a child model or proxy for that alone: name each in sender.",
        id="brevo_events.W009",
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


def _model_of(sender: Any) -> type[models.Model] | None:
    if isinstance(sender, str):
        try:
            return apps.get_model(sender)
        except (LookupError, ValueError):
            return None
    return sender if isinstance(sender, type) and issubclass(sender, models.Model) else None


def _nearest(key: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(key.upper(), known, n=1, cutoff=0.5)
    return f"Did you mean {nearest[0]!r}?" if nearest else f"The keys are: {', '.join(sorted(known))}."


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
