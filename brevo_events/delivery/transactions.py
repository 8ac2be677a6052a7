"""Transactions of workers: short, at READ COMMITTED, and on SQLite with the write lock from the start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

SET_READ_COMMITTED = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"

_is_read_committed: WeakKeyDictionary[BaseDatabaseWrapper, bool] = WeakKeyDictionary()


@contextmanager
def own_transaction(using: str) -> Iterator[None]:
    """
    Run a transaction that is not nested in another one.

    Every statement must see what others have committed by then, and a user's
    capture at SERIALIZABLE must not fail because of a worker. SQLite fails at
    once when a transaction that has already read wants to write, so it locks
    first.
    """
    connection: Any = connections[using]
    if connection.in_atomic_block:
        # Only under TestCase: atomic() itself refuses any other nesting.
        with transaction.atomic(using=using, durable=True):
            yield
        return
    if connection.vendor == "sqlite":
        former, connection.transaction_mode = connection.transaction_mode, "IMMEDIATE"
        try:
            with transaction.atomic(using=using, durable=True):
                connection.transaction_mode = former
                yield
        finally:
            connection.transaction_mode = former
        return
    is_default = _has_read_committed(using)
    if not is_default and connection.vendor == "mysql":
        _execute(using, SET_READ_COMMITTED)  # for the next transaction
    with transaction.atomic(using=using, durable=True):
        if not is_default and connection.vendor == "postgresql":
            _execute(using, SET_READ_COMMITTED)  # for this one
        yield


@contextmanager
def read_committed(using: str) -> Iterator[None]:
    """Run a single statement, in a transaction only if it wouldn't otherwise be at READ COMMITTED."""
    if not connections[using].in_atomic_block and _has_read_committed(using):
        yield
    else:
        with own_transaction(using):
            yield


def _has_read_committed(using: str) -> bool:
    """Return whether transactions are at READ COMMITTED by default; queried once per thread's connection."""
    connection = connections[using]
    if connection not in _is_read_committed:
        _is_read_committed[connection] = _levels(connection) == {"read committed"}
    return _is_read_committed[connection]


def _levels(connection: BaseDatabaseWrapper) -> set[str]:
    if connection.vendor == "sqlite":
        return {"read committed"}  # or stricter: it allows one writer at a time
    what = "transaction_isolation" if connection.vendor == "postgresql" else "VARIABLES LIKE 'tx_isolation'"
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {what}")
        return {str(row[-1]).replace("-", " ").lower() for row in cursor.fetchall()}


def _execute(using: str, statement: str) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(statement)
