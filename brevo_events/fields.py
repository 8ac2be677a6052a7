from __future__ import annotations

from typing import Any

from django.db import models


class _Exact:
    """A field compared and stored exactly: MariaDB's usual collation ignores accents and case."""

    def db_parameters(self, connection: Any) -> dict[str, Any]:
        parameters: dict[str, Any] = super().db_parameters(connection)  # type: ignore[misc]
        if connection.vendor == "mysql":
            # The plain utf8mb4_bin considers "a" and "a " equal; the collation that doesn't has a different name on
            # each server.
            parameters["collation"] = "utf8mb4_nopad_bin" if connection.mysql_is_mariadb else "utf8mb4_0900_bin"
        return parameters


class ExactCharField(_Exact, models.CharField):  # type: ignore[type-arg]
    """A short text that equals only itself, on every database."""


class ExactTextField(_Exact, models.TextField):  # type: ignore[type-arg]
    """A text in any script, whatever MariaDB's character set is."""


class SparseIndex(models.Index):
    """An index of the few rows with a value in its first column; on MariaDB, of all rows."""

    # Not with a condition: Django would warn about it at every migrate on MariaDB.
    def create_sql(self, model: type[models.Model], schema_editor: Any, using: str = "", **kwargs: Any) -> Any:
        if not schema_editor.connection.features.supports_partial_indexes:
            return super().create_sql(model, schema_editor, using, **kwargs)
        has_value = models.Q(**{f"{self.fields[0]}__isnull": False})
        partial = models.Index(fields=self.fields, name=self.name, condition=has_value)
        return partial.create_sql(model, schema_editor, using, **kwargs)


class FinishedIndex(models.Index):
    """
    An index of finished events only on PostgreSQL, and of all events elsewhere.

    If statistics were taken while nothing was waiting, PostgreSQL believes that
    nothing ever is: with an index of all statuses, it would then search all
    contacts' waiting events to find the next event of one contact. And if they
    were taken before a backlog was sent, it would search everything sent to find
    the newest event of one key. So only queries that mention ``finished_at`` can
    use the index.
    """

    # Not with a condition: MariaDB has none, and Django would warn about it at every migrate.
    def create_sql(self, model: type[models.Model], schema_editor: Any, using: str = "", **kwargs: Any) -> Any:
        if schema_editor.connection.vendor != "postgresql":
            return super().create_sql(model, schema_editor, using, **kwargs)
        finished = models.Q(finished_at__isnull=False)
        partial = models.Index(fields=self.fields, name=self.name, condition=finished)
        return partial.create_sql(model, schema_editor, using, **kwargs)
