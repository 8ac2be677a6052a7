"""
The statements of a delivery, each written once for all databases. docs/how-it-works.md explains how they interact.

A single event takes eight, including BEGIN and COMMIT: the window, the lease,
and a transaction that locks, updates, inserts and looks for the next in line.
They don't go through the ORM, which would take longer to compose them than the
database to run them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connections

from brevo_events import states

# Due events, oldest due time first, with everything needed to decide about them: which event is ahead in the contact's
# line, and which is the newest of the key. A body is read only if it may be sent. Nothing is locked here.
WINDOW = """
SELECT due.id, due.due_at, due.status, due.reason, due.coalesce_key, due.is_expired, due.first_pending, due.sending,
       due.newest_pending, due.newest_sending, due.newest_sent, due.first_between, due.seconds_left, due.contact,
       gate.generation, gate.closed_until IS NOT NULL OR {is_paused},
       due.name, due.email, due.object_id, due.attempts, due.response_code, due.call,
       CASE WHEN (due.first_pending IS NULL OR due.first_pending >= due.id)
             AND (due.sending IS NULL OR due.sending = due.id) THEN due.body END
FROM (
    SELECT e.id, e.due_at, e.status, e.reason, e.coalesce_key, e.name, e.email, e.contact, e.object_id, e.attempts,
           e.response_code, e.call, e.body, {seconds_left} AS seconds_left,
           CASE WHEN e.expires_at <= {now} THEN 1 ELSE 0 END AS is_expired,
           (SELECT o.id FROM {events} o {by_contact} WHERE o.contact = e.contact AND o.status = 'pending'
             AND o.available_at <= {now} ORDER BY o.id LIMIT 1) AS first_pending,
           (SELECT o.id FROM {events} o {by_contact} WHERE o.contact = e.contact AND o.status = 'sending'
             AND o.available_at <= {now} ORDER BY o.id LIMIT 1) AS sending,
           (SELECT o.id FROM {events} o {by_key} WHERE o.coalesce_key = e.coalesce_key AND o.status = 'pending'
             ORDER BY o.id DESC LIMIT 1) AS newest_pending,
           (SELECT o.id FROM {events} o {by_key} WHERE o.coalesce_key = e.coalesce_key AND o.status = 'sending'
             ORDER BY o.id DESC LIMIT 1) AS newest_sending,
           (SELECT o.id FROM {events} o {by_key} WHERE o.coalesce_key = e.coalesce_key AND o.status = 'sent'
             ORDER BY o.id DESC LIMIT 1) AS newest_sent,
           {first_between} AS first_between
    FROM {events} e
    WHERE e.due_at <= {now} {only}
    ORDER BY e.due_at, e.id
    LIMIT %s {skip_locked}
) due
LEFT JOIN {gate} gate ON gate.id = 1
ORDER BY due.due_at, due.id
"""

# After an identify call, the first pending event for which the contact has to exist.
FIRST_BETWEEN = """
CASE WHEN e.call = 'identify' THEN
    (SELECT o.id FROM {events} o {by_contact} WHERE o.contact = e.contact AND o.status = 'pending'
      AND o.id > e.id AND o.call <> 'identify' ORDER BY o.id LIMIT 1)
END
"""

# Only events with no pending event of their contact ahead of them: finds other contacts' events behind a long line
# before that line is parked. Not with NOT EXISTS, which PostgreSQL may turn into a join of the whole line with itself.
FIRST = """
AND COALESCE((SELECT o.id FROM {events} o {by_contact} WHERE o.contact = e.contact AND o.status = 'pending'
              AND o.available_at <= {now} ORDER BY o.id LIMIT 1), e.id) >= e.id
"""

# Some events for which no request was ever made: they make better probes than an event that always fails. Picked at
# random from the oldest and the newest, because a visitor may have caused many consecutive events that always fail. No
# more than fit into a window, which would otherwise prefer the oldest of them again.
UNTRIED = """
AND e.id IN (SELECT id FROM (
    SELECT e.id FROM (
        SELECT id FROM (SELECT id FROM {events} WHERE due_at <= {now} ORDER BY due_at, id LIMIT 2000) oldest
        UNION
        SELECT id FROM (SELECT id FROM {events} WHERE due_at <= {now} ORDER BY due_at DESC, id DESC LIMIT 2000) newest
    ) ends JOIN {events} e ON e.id = ends.id
    WHERE NOT EXISTS (SELECT 1 FROM {attempts} a WHERE a.event_id = e.id) {first}
    ORDER BY {random} LIMIT 20
) picked)
"""

# A quicker worker has already moved due_at ahead. The gate is checked again: a pause stops everything, a fault
# everything but probes.
LEASE = """
{at_once} UPDATE {events} {by_id} SET {leased}
WHERE id {in_free_keys} AND NOT EXISTS (
    SELECT 1 FROM {gate} gate WHERE gate.id = 1 AND ({is_paused} OR (gate.closed_until IS NOT NULL AND %s = 0))
)
"""
LEASED = "SELECT id FROM {events} {by_id} WHERE id {in_keys} AND lease_token = %s"

# Which rows can be written now, who leases them, and whether the gate is closed.
LOCK = """
SELECT e.id, e.lease_token, e.reason,
       (SELECT g.reason FROM {gate} g WHERE g.id = 1 AND g.closed_until IS NOT NULL)
FROM {events} e {by_id} WHERE e.id {in_keys} {skip_locked_of_e}
"""
END = "UPDATE {events} {by_id} SET {ended} WHERE id {in_keys}"
PUT_BACK = "UPDATE {events} {by_id} SET {put_back} WHERE id {in_keys}"
GIVE_BACK = "UPDATE {events} {by_id} SET {given_back} WHERE id {in_keys}"

# A separate statement, after the lock: a worker that parks an event keeps the one ahead of it locked meanwhile, so a
# snapshot from before our lock might miss the parked event.
NEXT_IN_LINE = """
SELECT e.id, (SELECT o.id FROM {events} o {by_contact} WHERE o.contact = e.contact AND o.status = 'pending'
              AND o.parked ORDER BY o.id LIMIT 1)
FROM {events} e {by_id} WHERE e.id {in_keys}
"""

# Why an event that is to be put back may have to end instead.
OBSOLETE = """
SELECT e.id, e.reason, CASE WHEN e.expires_at <= {now} THEN 1 ELSE 0 END,
       (SELECT o.id FROM {events} o {by_key} WHERE o.coalesce_key = e.coalesce_key AND o.status = 'pending'
         ORDER BY o.id DESC LIMIT 1),
       (SELECT o.id FROM {events} o {by_key} WHERE o.coalesce_key = e.coalesce_key AND o.status = 'sending'
         ORDER BY o.id DESC LIMIT 1),
       (SELECT o.id FROM {events} o {by_key} WHERE o.coalesce_key = e.coalesce_key AND o.status = 'sent'
         ORDER BY o.id DESC LIMIT 1),
       {first_between}
FROM {events} e {by_id} WHERE e.id {in_keys}
"""
PENDING_OF_KEYS = """
SELECT o.id, o.coalesce_key FROM {events} o {by_key} WHERE o.coalesce_key {in_keys} AND o.status = 'pending'
ORDER BY o.id LIMIT %s
"""

# The newest answers to all processes, to see whether Brevo is failing.
LAST_ANSWERS = """
SELECT a.response_code, e.contact, {age} FROM {attempts} a JOIN {events} e ON e.id = a.event_id
ORDER BY a.id DESC LIMIT %s
"""

INSERT_ATTEMPTS = """
INSERT INTO {attempts} (event_id, started_at, duration_ms, response_code, error, answer) VALUES """
ONE_ATTEMPT = "(%s, {after}, %s, %s, %s, %s)"

# The parts of the SQL that differ between the databases. ``after`` takes seconds, which may be negative.
WORDS = {
    "postgresql": {
        "now": "STATEMENT_TIMESTAMP()",
        "after": "STATEMENT_TIMESTAMP() + %s * INTERVAL '1 second'",
        "seconds_left": "EXTRACT(EPOCH FROM e.expires_at - STATEMENT_TIMESTAMP())::float8",
        "random": "RANDOM()",
        "age": "EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP() - a.started_at)::float8",
        "in_keys": "= ANY(%s)",
        "in_free_keys": (
            "IN (SELECT id FROM {events} WHERE id = ANY(%s) AND {is_due} ORDER BY id FOR UPDATE SKIP LOCKED)"
        ),
        "skip_locked": "FOR UPDATE OF e SKIP LOCKED",
    },
    "mysql": {
        "now": "UTC_TIMESTAMP(6)",
        "after": "UTC_TIMESTAMP(6) + INTERVAL %s SECOND",
        "seconds_left": "TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), e.expires_at) / 1000000.0",
        "random": "RAND()",
        "age": "TIMESTAMPDIFF(MICROSECOND, a.started_at, UTC_TIMESTAMP(6)) / 1000000.0",
        "in_keys": "IN %s",
        "in_free_keys": "IN %s AND {is_due}",
        "skip_locked": "FOR UPDATE SKIP LOCKED",
        # Fails instead of waiting if any row is locked: see claims._mark().
        "at_once": "SET STATEMENT innodb_lock_wait_timeout = 0 FOR",
        # If its statistics say that few events have a status, MariaDB would read all contacts' events with that status.
        "by_contact": "FORCE INDEX (brevo_events_contact)",
        "by_key": "FORCE INDEX (brevo_events_coalesce)",
        "by_id": "FORCE INDEX (PRIMARY)",
    },
    "sqlite": {
        "now": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f000', 'now')",
        "after": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f000', 'now', %s || ' seconds')",
        "seconds_left": "(JULIANDAY(e.expires_at) - JULIANDAY('now')) * 86400.0",
        "random": "RANDOM()",
        "age": "(JULIANDAY('now') - JULIANDAY(a.started_at)) * 86400.0",
        "in_keys": "IN (SELECT value FROM json_each(%s))",
        "in_free_keys": "IN (SELECT value FROM json_each(%s)) AND {is_due}",
    },
}
SAME_WORDS = {
    "events": "brevo_events_outboxevent",
    "attempts": "brevo_events_sendattempt",
    "gate": "brevo_events_gate",
    # A pause with a set end is over by itself.
    "is_paused": "(gate.paused_at IS NOT NULL AND (gate.paused_until IS NULL OR gate.paused_until > {now}))",
    "is_due": "due_at <= {now} AND status IN ('pending', 'sending')",
    **dict.fromkeys(("skip_locked", "at_once", "by_contact", "by_key", "by_id"), ""),
    "first_between": FIRST_BETWEEN,
    "first": FIRST,
    "leased": states.LEASED,
    "ended": states.ENDED,
    "put_back": states.PUT_BACK,
    "given_back": states.GIVEN_BACK,
}


class Statements(NamedTuple):
    """The statements for one database; see the constants of this module."""

    window: str
    free_window: str
    untried_window: str
    first_window: str
    lease: str
    leased: str
    lock: str
    end: str
    put_back: str
    give_back: str
    next_in_line: str
    obsolete: str
    pending_of_keys: str
    last_answers: str
    insert_attempts: str
    one_attempt: str


@lru_cache
def _in_words_of(vendor: str) -> Statements:
    words = {**SAME_WORDS, **WORDS[vendor]}

    def say(statement: str, **more: str) -> str:
        # Parts may contain other parts.
        said, before = statement, ""
        while said != before:
            before, said = said, said.format_map(words | more)
        return " ".join(said.split())

    return Statements(
        window=say(WINDOW, only="", skip_locked=""),
        free_window=say(WINDOW, only=""),
        untried_window=say(WINDOW, only=UNTRIED, skip_locked=""),
        first_window=say(WINDOW, only=FIRST, skip_locked=""),
        lease=say(LEASE),
        leased=say(LEASED),
        lock=say(LOCK, skip_locked_of_e=words["skip_locked"]),
        end=say(END),
        put_back=say(PUT_BACK),
        give_back=say(GIVE_BACK),
        next_in_line=say(NEXT_IN_LINE),
        obsolete=say(OBSOLETE),
        pending_of_keys=say(PENDING_OF_KEYS),
        last_answers=say(LAST_ANSWERS),
        insert_attempts=say(INSERT_ATTEMPTS),
        one_attempt=say(ONE_ATTEMPT),
    )


def of(using: str) -> Statements:
    """Return the statements for a database."""
    return _in_words_of(connections[using].vendor)


def keys(using: str, keys: Iterable[int | str | None]) -> Any:
    """Return keys as a parameter of ``in_keys``."""
    match connections[using].vendor:
        case "postgresql":
            return list(keys)
        case "mysql":
            return tuple(keys)
    return json.dumps(list(keys))


def rows(using: str, statement: str, parameters: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Run a statement that returns rows."""
    with connections[using].cursor() as cursor:
        cursor.execute(statement, list(parameters))
        return cursor.fetchall()  # type: ignore[no-any-return]


def changed(using: str, statement: str, parameters: Iterable[Any]) -> int:
    """Run a statement that writes, and return how many rows it changed."""
    with connections[using].cursor() as cursor:
        cursor.execute(statement, list(parameters))
        return cursor.rowcount  # type: ignore[no-any-return]
