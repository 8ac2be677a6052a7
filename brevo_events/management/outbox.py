from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections, router

from brevo_events.connections import migrate_command
from brevo_events.exceptions import InvalidSetting
from brevo_events.models import OutboxEvent


class OutboxCommand(BaseCommand):
    """Base class for commands on the outbox: a wrong setting or missing table ends them with advice."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except InvalidSetting as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            if not _lacks_tables(using := router.db_for_write(OutboxEvent)):
                raise
            raise CommandError(f"The database {using!r} has no outbox yet: run {migrate_command(using)}.") from error


def _lacks_tables(using: str) -> bool:
    with suppress(DatabaseError):
        return OutboxEvent._meta.db_table not in connections[using].introspection.table_names()
    return False
