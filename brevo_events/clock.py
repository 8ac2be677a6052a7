from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from django.db import models
from django.db.models.expressions import Combinable
from django.db.models.functions import Now


class UtcNow(Now):
    """
    The database's clock, in UTC.

    Every due time and lease is set and compared by it, so that the clocks of
    different hosts don't matter. Django's ``Now()`` is the server's local time
    on MariaDB, and has three decimals on SQLite, where times are stored as
    text: such a time would sort before the same time with six decimals.
    """

    def as_sqlite(self, compiler: Any, connection: Any, **extra_context: Any) -> Any:
        template = "STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f000', 'NOW')"
        return self.as_sql(compiler, connection, template=template, **extra_context)

    def as_mysql(self, compiler: Any, connection: Any, **extra_context: Any) -> Any:
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **extra_context)


def in_seconds(seconds: float) -> Combinable:
    """Return the time in that many seconds, by the database's clock."""
    return models.ExpressionWrapper(UtcNow() + timedelta(seconds=seconds), output_field=models.DateTimeField())


def boottime() -> float:
    """
    Return the seconds since some moment in the past, like ``time.monotonic()``.

    The clock keeps running while the machine is suspended, so that leases end
    when they do for the database.
    """
    return time.clock_gettime(_CLOCK)


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
