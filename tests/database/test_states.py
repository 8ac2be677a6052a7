"""Every step of an event, in every state: the table in ``states`` must hold afterwards."""

from __future__ import annotations

import pytest
from django.db.models import Q

from brevo_events import states, track
from brevo_events.choices import UNFINISHED, Reason, Status
from brevo_events.clock import UtcNow, in_seconds
from brevo_events.delivery import statements
from brevo_events.models import OutboxEvent

pytestmark = pytest.mark.django_db


def sql(step, *values):
    """Return a step that is written as SQL as a function of the rows."""

    def write(rows):
        said = statements.of(rows.db)
        keys = statements.keys(rows.db, rows.values_list("pk", flat=True))
        statements.changed(rows.db, getattr(said, step), [*values, keys])

    return write


def orm(columns):
    return lambda rows: rows.update(**columns)


def lease(rows):
    keys = statements.keys(rows.db, rows.values_list("pk", flat=True))
    statements.changed(rows.db, statements.of(rows.db).lease, ["token", 60, keys, 0])


FAILING = {"failure": "f" * 16, "failed_at": UtcNow()}
BEFORE = {
    "pending": {},
    "to be tried again": FAILING,
    "parked": {"parked": True, "due_at": in_seconds(300)},
    "sending": {"status": Status.SENDING, "lease_token": "t", "due_at": in_seconds(60)},
    "lease over": {"status": Status.SENDING, "lease_token": "t", "due_at": in_seconds(-1)},
    "superseded while sending": {
        "status": Status.SENDING,
        "lease_token": "t",
        "reason": Reason.SUPERSEDED,
        "due_at": in_seconds(60),
        **FAILING,
    },
    "sent": {"status": Status.SENT, "due_at": None, "finished_at": UtcNow()},
    "failed": {"status": Status.FAILED, "reason": Reason.REJECTED, "due_at": None, "finished_at": UtcNow(), **FAILING},
    "cancelled": {"status": Status.CANCELLED, "reason": Reason.OPERATOR, "finished_at": UtcNow()},
    "settled": {"status": Status.CANCELLED, "reason": Reason.OPERATOR, "due_at": None, "finished_at": UtcNow()},
}
PENDING = {"pending", "to be tried again", "parked"}
SENDING = {"sending", "lease over", "superseded while sending"}
FINISHED = {"sent", "failed", "cancelled", "settled"}
# Each with the states in which its callers take it.
STEPS = {
    "lease": (lease, set(BEFORE)),
    "end as sent": (sql("end", "sent", "", 204, 1, None, 0), SENDING),
    "end as failed": (sql("end", "failed", "rejected", 400, 1, "f" * 16, 1), SENDING),
    "put back": (sql("put_back", 500, 1, 30, 30, "f" * 16, 1), SENDING),
    "give back": (sql("give_back", None, "2026-01-01 00:00:00", None, 0), SENDING),
    "park": (orm(states.parked()), PENDING | SENDING),
    "release": (orm(states.released()), {"parked"}),
    "pull forward": (orm(states.pulled_forward()), PENDING),
    "postpone": (orm(states.postponed()), set(BEFORE) - {"sent", "failed", "settled"}),
    "obsolete": (orm(states.obsolete(Reason.EXPIRED)), PENDING | SENDING),
    "settle": (orm(states.settled()), FINISHED),
    "cancel": (orm(states.cancelled(Reason.OPERATOR)), PENDING),
    "erase": (orm(states.cancelled(Reason.ERASED)), PENDING | SENDING),
    "supersede": (orm(states.superseded()), PENDING | SENDING),
    "resend": (orm(states.resent(Q(reason=Reason.EXPIRED))), FINISHED),
}


def broken(event):
    """Return what the table forbids."""
    is_unfinished = event.status in UNFINISHED
    is_sending = event.status == Status.SENDING
    rules = {
        "an unfinished event without a due time": is_unfinished and event.due_at is None,
        "parked, but not pending": event.parked and event.status != Status.PENDING,
        "a lease token without sending, or the reverse": is_sending is (event.lease_token is None),
        "an end without a moment, or the reverse": is_unfinished is (event.finished_at is not None),
        "a reason of a pending event": event.status == Status.PENDING and event.reason != "",
        "a reason of a sent event": event.status == Status.SENT and event.reason != "",
        "an end without a reason": event.status in (Status.FAILED, Status.CANCELLED) and event.reason == "",
        "a failure without its moment, or the reverse": (event.failure is None) is not (event.failed_at is None),
        "a failure of an event that did not fail": event.failure is not None
        and event.status in (Status.SENT, Status.CANCELLED),
        "a failed event without a failure": event.failure is None and event.status == Status.FAILED,
        "sending for a reason": is_sending and event.reason not in ("", Reason.SUPERSEDED),
    }
    return [rule for rule, is_broken in rules.items() if is_broken]


@pytest.fixture
def event(settings, before):
    settings.BREVO_EVENTS = {"ENGINE": "worker"}
    event = track("a", "a@example.com")
    OutboxEvent.objects.filter(pk=event.pk).update(**BEFORE[before])
    return event


@pytest.mark.parametrize("before", BEFORE)
def test_each_state_is_one_that_the_table_allows(event):
    assert broken(OutboxEvent.objects.get()) == []


@pytest.mark.parametrize(
    ("step", "before"), [(step, before) for step, (_, states_) in STEPS.items() for before in sorted(states_)]
)
def test_each_step_leads_to_a_state_that_the_table_allows(event, step):
    write, _ = STEPS[step]

    write(OutboxEvent.objects.filter(pk=event.pk))

    assert broken(OutboxEvent.objects.get()) == []
