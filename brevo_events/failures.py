"""Failures in groups: similar answers together, whatever the event's name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db import connections
from django.db.models import Max

from brevo_events import unions
from brevo_events.addresses import without_addresses
from brevo_events.answers import alike, brevo_error, meaning
from brevo_events.models import OutboxEvent, SendAttempt

MAX_KINDS = 500  # fingerprints that are read
SHOWN = 20  # groups
COUNT_LIMIT = 10_000  # events of a group that are counted
WAITING_LIMIT = 5000  # waiting events that are read
NEWEST = 20  # events of a group whose names are read
MAX_MESSAGE_LENGTH = 200

# One index step for each fingerprint, however many events it has. MariaDB does such steps by itself, but can't use a
# range in a subquery that depends on the previous step.
STEPS = """
WITH RECURSIVE kinds (failure, number) AS (
    SELECT (SELECT e.failure FROM {events} e WHERE e.failure > '' ORDER BY e.failure LIMIT 1), 1
    UNION ALL
    SELECT (SELECT e.failure FROM {events} e WHERE e.failure > kinds.failure ORDER BY e.failure LIMIT 1), number + 1
    FROM kinds WHERE kinds.failure IS NOT NULL AND number <= %s
)
SELECT kinds.failure,
       (SELECT e.failed_at FROM {events} e WHERE e.failure = kinds.failure ORDER BY e.failed_at LIMIT 1),
       (SELECT e.failed_at FROM {events} e WHERE e.failure = kinds.failure ORDER BY e.failed_at DESC LIMIT 1)
FROM kinds WHERE kinds.failure IS NOT NULL
"""
KINDS = {
    "postgresql": STEPS,
    "sqlite": STEPS,
    "mysql": """
SELECT e.failure, MIN(e.failed_at), MAX(e.failed_at) FROM {events} e WHERE e.failure > '' GROUP BY e.failure LIMIT %s
""",
}
# Of a group: how many events, how many contacts.
COUNTS = """
SELECT %s AS failure, COUNT(*), COUNT(DISTINCT of_group.contact) FROM (
    SELECT e.contact FROM {events} e WHERE e.failure = %s ORDER BY e.failed_at DESC LIMIT %s
) of_group
"""
NEWEST_OF_GROUP = """
SELECT * FROM (
    SELECT e.failure, e.id, e.name, e.response_code FROM {events} e WHERE e.failure = %s
    ORDER BY e.failed_at DESC LIMIT %s
) newest
"""


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """
    Events whose last answers are similar: same status, same Brevo code, same message apart from addresses and numbers.

    ``failure`` is their fingerprint, ``failed`` how many have failed,
    ``waiting`` how many will be tried again (both up to 10,000). ``contacts``
    counts the contacts of both. ``names`` are those of the newest events.
    ``message`` has no addresses.
    """

    failure: str
    response_code: int | None
    error: str
    message: str
    failed: int
    waiting: int
    contacts: int
    first_at: datetime
    last_at: datetime
    names: tuple[str, ...]

    @property
    def meaning(self) -> str:
        """What the answer means and what to do."""
        return str(meaning(self.response_code, self.error, self.message))

    @property
    def is_capped(self) -> bool:
        """Whether there are more events than were counted."""
        return self.failed + self.waiting >= COUNT_LIMIT


class _Kind(NamedTuple):
    failure: str
    first_at: datetime
    last_at: datetime


class _Sample(NamedTuple):
    pk: int
    name: str
    response_code: int | None


def failure_groups(*, since: datetime | None = None, limit: int = SHOWN) -> list[FailureGroup]:
    """Return the most recent groups since ``since``, largest first; takes five statements."""
    kinds = [kind for kind in _kinds() if since is None or kind.last_at >= since]
    kinds = sorted(kinds, key=lambda kind: kind.last_at, reverse=True)[:limit]
    if not kinds:
        return []
    of_kinds = [kind.failure for kind in kinds]
    counts, waiting = _counts(of_kinds), _waiting()
    samples = _samples(of_kinds, NEWEST)
    answers = _answers([newest[0].pk for newest in samples.values()])
    groups = [
        _group(kind, counts[kind.failure], waiting, samples, answers) for kind in kinds if kind.failure in samples
    ]
    return sorted(groups, key=lambda group: group.failed + group.waiting, reverse=True)


def with_message(text: str) -> list[str]:
    """Return the fingerprints of failures whose message contains a text, ignoring addresses and numbers."""
    wanted = alike(text)
    samples = _samples([kind.failure for kind in _kinds()], 1)
    answers = _answers([newest[0].pk for newest in samples.values()])
    return [failure for failure, newest in samples.items() if wanted in alike(answers.get(newest[0].pk, ("", ""))[1])]


def words_of(failure: str, *, with_message: bool) -> str:
    """Return the answer of a group's failures in words: the status or kind, perhaps with Brevo's message."""
    newest = _samples([failure], 1).get(failure)
    if not newest:
        return ""
    error, message = _answers([newest[0].pk]).get(newest[0].pk, ("", ""))
    return " ".join(str(part) for part in (newest[0].response_code or error, with_message and message) if part)


def message_of(answer: str) -> str:
    """Return Brevo's message in an answer, without the addresses in it, which would reveal contacts."""
    return without_addresses(" ".join(brevo_error(answer)[1].split()))[:MAX_MESSAGE_LENGTH]


def _group(
    kind: _Kind,
    counts: tuple[int, int],
    waiting: Counter[str | None],
    samples: dict[str, list[_Sample]],
    answers: dict[int, tuple[str, str]],
) -> FailureGroup:
    newest = samples[kind.failure]
    count, contacts = counts
    error, message = answers.get(newest[0].pk, ("", ""))
    return FailureGroup(
        failure=kind.failure,
        response_code=newest[0].response_code,
        error=error,
        message=message,
        failed=max(count - waiting[kind.failure], 0),
        waiting=waiting[kind.failure],
        contacts=contacts,
        first_at=kind.first_at,
        last_at=kind.last_at,
        names=tuple(name for name, _count in Counter(sample.name for sample in newest).most_common()),
    )


def _kinds() -> list[_Kind]:
    moment = unions.moments()
    found = unions.rows(KINDS[connections[OutboxEvent.objects.db].vendor], [MAX_KINDS])
    return [_Kind(failure, moment(first), moment(last)) for failure, first, last in found]


def _counts(failures: list[str]) -> dict[str, tuple[int, int]]:
    rows = unions.each(COUNTS, [(failure, failure, COUNT_LIMIT) for failure in failures])
    return {failure: (count, contacts) for failure, count, contacts in rows}


def _samples(failures: list[str], number: int) -> dict[str, list[_Sample]]:
    found: dict[str, list[_Sample]] = {}
    for failure, *columns in unions.each(NEWEST_OF_GROUP, [(failure, number) for failure in failures]):
        found.setdefault(failure, []).append(_Sample._make(columns))
    return found


def _waiting() -> Counter[str | None]:
    waiting = OutboxEvent.objects.due_sometime().unfinished().order_by("due_at")
    return Counter(waiting.values_list("failure", flat=True)[:WAITING_LIMIT])


def _answers(pks: list[int]) -> dict[int, tuple[str, str]]:
    """Return Brevo's code and message in the last answers to some events."""
    last = SendAttempt.objects.filter(event__in=pks).order_by().values("event").annotate(last=Max("pk"))
    rows = SendAttempt.objects.filter(pk__in=list(last.values_list("last", flat=True)))
    return {
        event: (without_addresses(error), message_of(answer))
        for event, error, answer in rows.values_list("event", "error", "answer")
    }
