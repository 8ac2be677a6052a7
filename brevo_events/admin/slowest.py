"""The event of a name that took longest from its capture until Brevo accepted it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import F, FloatField, Func

from brevo_events.admin.matches import Found
from brevo_events.admin.question import Question
from brevo_events.choices import Status
from brevo_events.models import OutboxEvent
from brevo_events.times import between


@dataclass(frozen=True, slots=True)
class Slowest:
    """The slowest of the listed events."""

    event: OutboxEvent
    took: str


class _Took(Func):
    """The duration between two times, for sorting: each database has its own unit for it."""

    template, arg_joiner, arity = "(%(expressions)s)", " - ", 2
    output_field = FloatField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # Django's own subtraction calls Python for each row.
        halves = {"template": "(julianday(%(expressions)s))", "arg_joiner": ") - julianday("}
        return self.as_sql(compiler, connection, **halves, **context)

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="-TIMESTAMPDIFF(MICROSECOND, %(expressions)s)", arg_joiner=", ", **context
        )


def slowest(found: Found, asked: Question) -> Slowest | None:
    """Return the slowest accepted event, if the list is limited to one name and a span of time."""
    if not (asked.name and asked.span):
        return None
    accepted = found.events.filter(status=Status.SENT).exclude(finished_at=None)
    event = accepted.order_by(_Took(F("finished_at"), F("created_at")).desc(), "pk").defer("body").first()
    if event is None or event.finished_at is None:
        return None
    return Slowest(event, between(event.created_at, event.finished_at))
