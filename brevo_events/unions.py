"""Statements that run the same query on many index ranges, which the ORM can't express."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.db import connections

from brevo_events.models import OutboxEvent

AT_ONCE = 50  # parts of a statement


def each(part: str, parameters: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Run a query with each set of parameters, many in one statement; ``{events}`` stands for the table."""
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(parameters), AT_ONCE):
        some = parameters[start : start + AT_ONCE]
        found += rows(" UNION ALL ".join([part] * len(some)), [value for one in some for value in one])
    return found


def rows(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a statement; datetimes in its parameters are written as the database stores them."""
    connection = connections[OutboxEvent.objects.db]
    adapted = [
        connection.ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value
        for value in parameters
    ]
    with connection.cursor() as cursor:
        cursor.execute(statement.format(events=OutboxEvent._meta.db_table), adapted)
        return cursor.fetchall()  # type: ignore[no-any-return]


def moments() -> Callable[[Any], datetime]:
    """Return a function that converts a datetime from such a row, as the ORM does on each database."""
    field: Any = OutboxEvent._meta.get_field("finished_at")
    connection = connections[OutboxEvent.objects.db]
    column = field.get_col("")
    converters = connection.ops.get_db_converters(column) + field.get_db_converters(connection)

    def read(value: Any) -> datetime:
        for convert in converters:
            value = convert(value, column, connection)
        return value  # type: ignore[no-any-return]

    return read
