from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import models
from django.db.models.expressions import Combinable
from django.db.models.functions import Now


class UtcNow(Now):
    """
    Read the database's clock, in UTC.

    Every due time and lease is set and compared by it, so that the clocks of
    several hosts do not matter. Django's ``Now()`` is the server's local time
    on MariaDB.
    """

    def as_mysql(self, compiler: Any, connection: Any, **extra_context: Any) -> Any:
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **extra_context)


def in_seconds(seconds: float) -> Combinable:
    """Return the moment that many seconds from now, by the database's clock."""
    return models.ExpressionWrapper(UtcNow() + timedelta(seconds=seconds), output_field=models.DateTimeField())


class _Exact:
    """Compare and store text as it is: MariaDB's usual collation ignores accents and case."""

    def db_parameters(self, connection: Any) -> dict[str, Any]:
        parameters: dict[str, Any] = super().db_parameters(connection)  # type: ignore[misc]
        if connection.vendor == "mysql":
            # The plain utf8mb4_bin takes "a" and "a " for equal; each server names the other one differently.
            parameters["collation"] = "utf8mb4_nopad_bin" if connection.mysql_is_mariadb else "utf8mb4_0900_bin"
        return parameters


class ExactCharField(_Exact, models.CharField):  # type: ignore[type-arg]
    """Hold a short text that is equal only to itself, on every database."""


class ExactTextField(_Exact, models.TextField):  # type: ignore[type-arg]
    """Hold a text in any script, whatever MariaDB's character set is."""
