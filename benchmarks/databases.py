"""Throwaway databases: created for a run, dropped at its end, whatever happens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django
import environ
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections

from tests import settings as of_tests

URLS = {"sqlite": "", "postgresql": "TEST_POSTGRES_URL", "mariadb": "TEST_MARIADB_URL"}  # names in the environment
MA_KEY = "k" * 24
AS_IN_TESTS = ("INSTALLED_APPS", "MIDDLEWARE", "ROOT_URLCONF", "SECRET_KEY", "STATIC_URL", "TEMPLATES")


class Switch:
    """Routes every model to one of the throwaway databases, so that rounds can alternate between them."""

    alias = "default"

    def db_for_read(self, model: Any, **hints: Any) -> str:
        """Return the alias in use."""
        return Switch.alias

    db_for_write = db_for_read


def available() -> list[str]:
    """Return the databases that the environment provides; SQLite is always one of them."""
    return [name for name, variable in URLS.items() if not variable or os.environ.get(variable)]


def throwaway(name: str, directory: str) -> dict[str, Any]:
    """Return the settings of a new database, given its short name; SQLite keeps its files in the directory."""
    database = f"brevo_events_bench_{os.getpid()}"
    if name == "sqlite":
        options = {"transaction_mode": "IMMEDIATE", "timeout": 20}
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{directory}/{database}", "OPTIONS": options}
    return {**environ.Env.db_url_config(os.environ[URLS[name]]), "NAME": database}


def configure(default: dict[str, Any], brevo_events: dict[str, Any] | None = None) -> None:
    """Set Django up in this process, with that database as the default one."""
    settings.configure(
        DATABASES={"default": default},
        DATABASE_ROUTERS=["benchmarks.databases.Switch"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        ALLOWED_HOSTS=["testserver"],
        USE_TZ=True,
        BREVO_EVENTS={"MA_KEY": MA_KEY, "TRANSPORT": "http", "ENGINE": "worker", **(brevo_events or {})},
        **{name: getattr(of_tests, name) for name in AS_IN_TESTS},
    )
    django.setup()


@contextmanager
def created(*aliases: str) -> Iterator[None]:
    """Create the databases of these aliases in addition to the default one, and drop them at the end."""
    try:
        for alias in aliases:
            _create(alias)
        yield
    finally:
        connections.close_all()
        for alias in aliases:
            _drop(alias)


@contextmanager
def using(alias: str) -> Iterator[None]:
    """Route every model to that database inside it."""
    Switch.alias = alias
    try:
        yield
    finally:
        Switch.alias = "default"


def current() -> Any:
    """Return the connection to the database in use."""
    return connections[Switch.alias]


def empty() -> None:
    """Delete every row of the database in use."""
    call_command("flush", database=Switch.alias, interactive=False, verbosity=0)


def _create(alias: str) -> None:
    default = connections.databases["default"]
    if alias != "default":
        connections.databases[alias] = {**default, "NAME": f"{default['NAME']}_{alias}"}
    if connection.vendor != "sqlite":
        charset = " CHARACTER SET utf8mb4" if connection.vendor == "mysql" else ""
        _on_server(f"CREATE DATABASE {connections.databases[alias]['NAME']}{charset}")
    call_command("migrate", database=alias, run_syncdb=True, verbosity=0)


def _drop(alias: str) -> None:
    if connection.vendor != "sqlite" and alias in connections.databases:
        # FORCE, because the thread engine keeps its connection for a while.
        force = " WITH (FORCE)" if connection.vendor == "postgresql" else ""
        _on_server(f"DROP DATABASE IF EXISTS {connections.databases[alias]['NAME']}{force}")


def _on_server(statement: str) -> None:
    nowhere = "postgres" if connection.vendor == "postgresql" else ""
    connections.databases["server"] = {**connections.databases["default"], "NAME": nowhere}
    with connections["server"].cursor() as cursor:
        cursor.execute(statement)
    connections["server"].close()
