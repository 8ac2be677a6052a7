"""Rows of the outbox, created in bulk, because capturing a million would take longer than everything else."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from django.db.models.expressions import DatabaseDefault
from django.utils import timezone

from benchmarks import databases
from brevo_events.choices import UNFINISHED
from brevo_events.events import Event
from brevo_events.models import OutboxEvent, SendAttempt, Status

TABLE = OutboxEvent._meta.db_table
ATTEMPTS = SendAttempt._meta.db_table
STEP = 1000  # rows of the table of numbers; two of them make a million


def arguments(number: int) -> dict[str, Any]:
    """Return the arguments of `track()` for one shopping cart: a body of about 540 bytes."""
    return {
        "name": "cart_updated",
        "email": f"customer-{number:06}@example.com",
        "object_id": f"cart:{number:06}",
        "properties": {"FIRSTNAME": "Ada", "LASTNAME": "Lovelace"},
        "data": {
            "total": 149.5,
            "currency": "EUR",
            "url": f"https://shop.example.com/cart/{number:06}/",
            "items": [
                {
                    "id": f"sku-{item}",
                    "name": "Wrist watch, steel, 38 mm",
                    "quantity": item,
                    "price": 49.9,
                    "url": f"https://shop.example.com/watches/{item}/",
                    "image": f"https://cdn.example.com/{item}.jpg",
                }
                for item in (1, 2)
            ],
        },
    }


def fill(
    count: int,
    *,
    status: Status = Status.PENDING,
    reason: str = "",
    contact: str = "n",
    retrying: str = "1 = 0",
    kept: int = 0,
    ended: int | None = None,
    is_analysed: bool = True,
) -> None:
    """
    Insert that many rows in one statement, due for an hour or finished.

    ``contact`` and ``retrying`` are SQL expressions in ``n``, which counts from
    0: the row's contact, and whether it waits an hour for a retry. ``kept`` is
    added to the contact, in addition to those that exist already. Finished rows
    ended an hour ago and get a short body, which no claim reads; with
    ``ended``, they ended ten seconds apart, the last of them that many days
    ago, and keep their body. Without ``is_analysed``, the planner only knows
    the statistics that the database maintains by itself.
    """
    past, later = _moment(hours=-1), _moment(hours=1)
    is_finished = status not in UNFINISHED
    values: dict[str, tuple[str, list[Any]]] = {
        **_plain_values(),
        "contact": (f"LPAD(MD5(CAST({_escaped(contact)} + {kept} AS CHAR(20))), 64, '0')", []),
        "status": ("%s", [status.value]),
        "reason": ("%s", [reason]),
        "available_at": ("%s", [past]),
        "due_at": ("NULL", [])
        if is_finished
        else (f"CASE WHEN {_escaped(retrying)} THEN %s ELSE %s END", [later, past]),
        "finished_at": ("%s", [past]) if is_finished else ("NULL", []),
    }
    if is_finished and ended is None:
        values["body"] = ("'{}'", [])
    if ended is not None:
        for column in ("created_at", "finished_at"):
            values[column] = (_ten_seconds_apart(count), [_moment(hours=-24 * ended)])
    expressions = ", ".join(expression for expression, _ in values.values())
    parameters = [parameter for _, given in values.values() for parameter in given]
    columns = ", ".join(map(databases.current().ops.quote_name, values))
    _make_numbers()
    _execute(
        f"INSERT INTO {TABLE} ({columns}) SELECT {expressions} FROM "
        f"(SELECT a.n * {STEP} + b.n AS n FROM numbers a CROSS JOIN numbers b WHERE a.n <= {count // STEP}) series "
        f"WHERE n < {count} ORDER BY n",
        parameters,
    )
    if is_analysed:
        analyse()


def add_attempts() -> None:
    """Give each finished row the attempt that ended it, and one row in five an earlier failed one."""
    columns = "event_id, started_at, duration_ms, response_code, error, answer"
    for code, error, answer, which in (
        (503, "service_unavailable", '{"code":"service_unavailable","message":"Try again later"}', "id % 5 = 0"),
        (204, "", "", "1 = 1"),
    ):
        _execute(
            f"INSERT INTO {ATTEMPTS} ({columns}) SELECT id, finished_at, 80, %s, %s, %s FROM {TABLE} "
            f"WHERE finished_at IS NOT NULL AND {_escaped(which)}",
            [code, error, answer],
        )
    analyse()


def analyse() -> None:
    """Update the database's statistics of the table, as it does by itself in the long run."""
    vendor = databases.current().vendor
    tables = f"{TABLE}, {ATTEMPTS}"
    _execute({"postgresql": f"VACUUM ANALYZE {tables}", "mysql": f"ANALYZE TABLE {tables}"}.get(vendor, "ANALYZE"))


def give_back() -> None:
    """Make all claimed events due again."""
    _execute(
        f"UPDATE {TABLE} SET status = 'pending', lease_token = NULL, due_at = available_at WHERE status = 'sending'"
    )


def revive(pks: list[int]) -> None:
    """Make sent events due again, as they were before."""
    marks = ", ".join(["%s"] * len(pks))
    _execute(
        f"UPDATE {TABLE} SET status = 'pending', finished_at = NULL, attempts = 0, due_at = available_at "
        f"WHERE id IN ({marks})",
        pks,
    )


def wait_until_finished(timeout: float) -> None:
    """Block until nothing is left to do; raise TimeoutError if that takes too long."""
    ends_at = time.monotonic() + timeout
    while OutboxEvent.objects.exclude(due_at=None).exists():
        if time.monotonic() > ends_at:
            raise TimeoutError(f"Some events were not delivered within {timeout} s.")
        time.sleep(0.1)


def _plain_values() -> dict[str, tuple[str, list[Any]]]:
    """Return each column that a captured event fills, with one event's values."""
    row, values = OutboxEvent.of(Event(**arguments(0))), {}
    for field in OutboxEvent._meta.concrete_fields:
        value = getattr(row, field.attname)
        if field.primary_key or isinstance(value, DatabaseDefault):
            continue
        values[field.column] = ("%s", [field.get_db_prep_save(value, databases.current())])
    return values


def _escaped(sql: str) -> str:
    """Return SQL for a statement with parameters, with percent signs escaped."""
    return f"({sql.replace('%', '%%')})"


def _make_numbers() -> None:
    with databases.current().cursor() as cursor:
        if "numbers" in databases.current().introspection.table_names(cursor):
            return
        cursor.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")
        cursor.executemany("INSERT INTO numbers VALUES (%s)", [(n,) for n in range(STEP)])


def _moment(*, hours: int) -> Any:
    return databases.current().ops.adapt_datetimefield_value(timezone.now() + timedelta(hours=hours))


def _ten_seconds_apart(count: int) -> str:
    before = f"(10 * ({count - 1} - n))"
    return {
        "postgresql": f"%s::timestamptz - {before} * INTERVAL '1 second'",
        "mysql": f"%s - INTERVAL {before} SECOND",
        "sqlite": f"STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', %s, '-' || {before} || ' seconds') || '000'",
    }[databases.current().vendor]


def _execute(statement: str, parameters: list[Any] | None = None) -> None:
    with databases.current().cursor() as cursor:
        cursor.execute(statement, parameters)
