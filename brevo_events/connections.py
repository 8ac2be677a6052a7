"""The outbox's database, and the connections of a delivering thread: pages must never have to wait for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

_thread = threading.local()
_behind_pooler: dict[str, bool] = {}


def migrate_command(using: str) -> str:
    """Return the command that makes the outbox's tables on a database."""
    return "manage.py migrate brevo_events" + (f" --database {using}" if using != DEFAULT_DB_ALIAS else "")


@contextmanager
def owned_connections() -> Iterator[None]:
    """Let ``release_connection()`` work in this thread, because only delivery uses its connections."""
    _thread.is_owner = True
    try:
        yield
    finally:
        _thread.is_owner = False


def release_connection() -> None:
    """
    Give this thread's pooled connections back, so that others can use them during a wait.

    A direct connection is kept, and so is one in a transaction. Outside
    ``owned_connections()`` nothing happens, because a request needs its own
    connection.
    """
    if not getattr(_thread, "is_owner", False):
        return
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None and not connection.in_atomic_block and is_pooled(connection):
            connection.close()


def is_pooled(connection: Any) -> bool:
    """Return whether an open connection comes from Django's pool, or goes through a pooler such as PgBouncer."""
    if connection.settings_dict.get("OPTIONS", {}).get("pool"):
        return True
    if connection.vendor != "postgresql":
        return False
    if connection.alias not in _behind_pooler:
        _behind_pooler[connection.alias] = _is_behind_pooler(connection)
    return _behind_pooler[connection.alias]


def _is_behind_pooler(connection: Any) -> bool:
    # The server process behind a pooler changes, so the pooler reports an invented process ID to the driver.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return bool(cursor.fetchone()[0] != connection.connection.info.backend_pid)
