from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from brevo_events import Event, track
from brevo_events.choices import Reason, Status
from brevo_events.delivery import claim
from brevo_events.figures import collect
from brevo_events.models import OutboxEvent, SendAttempt, outbox
from brevo_events.querysets import cancelled

pytestmark = pytest.mark.django_db(transaction=True)

WHOLE = {"postgresql": "Seq Scan", "sqlite": "SCAN", "mysql": " ALL "}  # how a plan says that it reads all rows


@pytest.fixture
def _crowded():
    """Many finished events and few that wait; what a planner goes by was taken while none did."""
    row = OutboxEvent.of(Event("a", "a@example.com"))
    values = {"name": "a", "email": row.email, "body": row.body}
    now = timezone.now()
    finished = [
        OutboxEvent(
            **values,
            contact=str(n),
            status=Status.SENT if n % 50 else Status.FAILED,
            due_at=None,
            finished_at=now - n * dt.timedelta(minutes=2),
        )
        for n in range(20_000)
    ]
    OutboxEvent.objects.bulk_create(finished, batch_size=2000)
    analyse(OutboxEvent)
    OutboxEvent.objects.bulk_create([OutboxEvent(**values, contact=str(n)) for n in range(200)])
    attempts = [SendAttempt(event=event, started_at=now, duration_ms=9, response_code=204) for event in outbox()]
    SendAttempt.objects.bulk_create(attempts, batch_size=2000)
    analyse(SendAttempt)


@pytest.fixture
def _learned(_crowded):
    """The same, and the planner knows that some wait."""
    analyse(OutboxEvent)


def analyse(model):
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute({"mysql": f"ANALYZE TABLE {table}"}.get(connection.vendor, f"ANALYZE {table}"))


def plan_of(sql):
    """Return how the database reads what a statement asks for."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {'QUERY PLAN' if connection.vendor == 'sqlite' else ''} {sql}")
        # MariaDB also names the indexes that it does not use.
        used = [place for place, column in enumerate(cursor.description) if column[0] != "possible_keys"]
        return "\n".join(" ".join(str(row[place]) for place in used) for row in cursor.fetchall())


def key_of(sql):
    """Return the index by which MariaDB finds the rows of a statement."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}")
        (row,) = [dict(zip((column[0] for column in cursor.description), each, strict=True)) for each in cursor]
    return row["key"]


@pytest.mark.usefixtures("_crowded")
class SurpriseTests:
    """The planner looked while nothing waited."""

    def test_the_line_of_a_contact_is_found_by_its_index_all_the_same(self):
        with CaptureQueriesContext(connection) as queries:
            claim(10)

        (look,) = [query["sql"] for query in queries if "available_at" in query["sql"] and "LIMIT 1)" in query["sql"]]
        plan = plan_of(look)
        assert plan.count("brevo_events_contact") == 2  # once for each status that may be ahead
        assert "brevo_events_status" not in plan

    def test_the_first_due_event_is_found_without_a_look_at_the_finished_ones(self):
        with CaptureQueriesContext(connection) as queries:
            outbox().seconds_until_first_due()

        plan = plan_of(queries[0]["sql"])
        assert "brevo_events_due" in plan
        if connection.vendor == "sqlite":
            assert "SEARCH" in plan  # a SCAN begins with the rows that have no due time

    def test_what_waits_is_found_without_a_look_at_the_finished_ones(self):
        with CaptureQueriesContext(connection) as queries:
            assert len(outbox().due_sometime().values_list("status")) == 200

        assert WHOLE[connection.vendor] not in plan_of(queries[0]["sql"])


@pytest.mark.usefixtures("_learned")
class PlanTests:
    def test_the_claim_reads_only_what_is_due(self):
        window = outbox().due().order_by("due_at", "pk")

        with transaction.atomic():
            plan = window.lock_free()[:200].explain()

        assert "brevo_events_due" in plan

    def test_the_idle_question_reads_only_what_is_due(self):
        assert "brevo_events_due" in outbox().due().values("pk").order_by()[:1].explain()

    def test_the_line_of_a_contact_is_found_by_its_index(self):
        line = outbox().filter(contact="7", status=Status.PENDING).order_by("pk").values("pk")[:1]

        assert "brevo_events_contact" in line.explain()

    def test_the_overview_reads_events_and_attempts_by_their_indexes(self):
        collect()  # counts the hours that are over
        with CaptureQueriesContext(connection) as queries:
            collect()

        statements = [query["sql"] for query in queries if "hourlycount" not in query["sql"]]
        assert len(statements) == 9
        for sql in statements:
            # The newest rows by their key need no other index.
            if "WHERE" in sql:
                assert WHOLE[connection.vendor] not in plan_of(sql), sql

    @pytest.mark.skipif(connection.vendor != "mysql", reason="only there does the way to a row decide what is locked")
    @pytest.mark.parametrize("statuses", [[Status.PENDING], [Status.PENDING, Status.SENDING]], ids=len)
    def test_a_user_changes_the_state_of_events_by_their_key_on_mariadb(self, statuses):
        pks = list(outbox().filter(status=Status.PENDING).values_list("pk", flat=True))

        for chosen in (pks[:1], pks[:7], pks):
            with CaptureQueriesContext(connection) as queries:
                outbox().with_status(statuses, chosen).update(**cancelled(Reason.OPERATOR))

            assert queries[0]["sql"].startswith("UPDATE")
            assert key_of(queries[0]["sql"]) == "PRIMARY"

    @pytest.mark.skipif(connection.vendor != "mysql", reason="only there does the way to a row decide what is locked")
    def test_a_capture_supersedes_by_the_key_on_mariadb(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker"}
        old = [OutboxEvent.of(Event("cart_updated", "7@example.com", object_id="x")) for _ in range(20)]
        outbox().bulk_create(old)
        with CaptureQueriesContext(connection) as queries:
            track(Event("order_completed", "7@example.com", object_id="x", supersedes=["cart_updated"]))

        (update,) = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
        assert key_of(update) == "PRIMARY"
        assert outbox().filter(reason=Reason.SUPERSEDED).count() == 20
