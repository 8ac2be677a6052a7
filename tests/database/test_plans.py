from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat, Substr
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from brevo_events import Event, track
from brevo_events.choices import Reason, Status
from brevo_events.figures import collect
from brevo_events.models import OutboxEvent, SendAttempt
from brevo_events.states import cancelled
from tests.browsing import LIST, root
from tests.deliveries import claim

pytestmark = pytest.mark.django_db(transaction=True)

WHOLE = {"postgresql": "Seq Scan", "sqlite": "SCAN", "mysql": " ALL "}  # how a plan says that it reads all rows

OF_EVENTS = {"postgresql": "Seq Scan on brevo_events_outboxevent", "sqlite": "SCAN e", "mysql": " e ALL "}

EVENTS, ATTEMPTS = OutboxEvent._meta.db_table, SendAttempt._meta.db_table

LISTS = (
    *("", "?status=waiting", "?status=sent", "?status=failed", "?status=superseded", "?status=cancelled"),
    *("?name=a", "?response=4", "?status=failed&name=a", "?status=waiting&response=none"),
    *("?failure=fffffffffffffff5", "?failure=fffffffffffffff5&status=failed&name=a"),
    *(
        "?span=hour",
        "?span=hour&name=a&status=sent",
        "?when=finished&span=hour",
        "?when=finished&span=hour&name=a&status=sent",
    ),
    *("?q=77", "?q=%2377", "?q=nothing", "?q=a@example.com&status=failed"),
)


@pytest.fixture
def _crowded():
    """Many finished events and few that wait; what a planner goes by was taken while none did."""
    row = OutboxEvent.of(Event("a", "a@example.com"))
    values = {"name": "a", "email": row.email, "body": row.body}
    finish(values)
    analyse(OutboxEvent)
    OutboxEvent.objects.bulk_create([OutboxEvent(**values, contact=str(n)) for n in range(200)])
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {ATTEMPTS} (event_id, started_at, duration_ms, response_code, error, answer)"
            f" SELECT id, created_at, 9, 204, '', '' FROM {EVENTS}"
        )
    analyse(SendAttempt)


def finish(values):
    """Insert 20,000 finished events: by Django the first time, and then as copies of those, which is quicker."""
    with connection.cursor() as cursor:
        if "finished_events" in connection.introspection.table_names(cursor):
            columns = ", ".join(
                connection.ops.quote_name(field.column) for field in OutboxEvent._meta.concrete_fields[1:]
            )
            cursor.execute(f"INSERT INTO {EVENTS} ({columns}) SELECT {columns} FROM finished_events ORDER BY id")
            return
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
        failed = OutboxEvent.objects.filter(status=Status.FAILED)
        failed.update(failure=Concat(Value("f" * 15), Substr("contact", 1, 1)), failed_at=F("finished_at"))
        cursor.execute(f"CREATE TABLE finished_events AS SELECT * FROM {EVENTS}")


@pytest.fixture
def _learned(_crowded):
    """The same, and the planner knows that some wait."""
    analyse(OutboxEvent)


def analyse(model):
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute({"mysql": f"ANALYZE TABLE {table}"}.get(connection.vendor, f"ANALYZE {table}"))


def plan_of(sql):
    """Return the database's plan for a statement."""
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
    """The statistics were taken while nothing was waiting."""

    def test_the_line_of_a_contact_is_found_by_its_index_all_the_same(self):
        with CaptureQueriesContext(connection) as queries:
            claim(10)

        (look,) = [query["sql"] for query in queries if "available_at" in query["sql"] and "LIMIT 1)" in query["sql"]]
        plan = plan_of(look)
        # Once for each status that may be ahead, and once for what a call of identify may have waiting for it.
        assert plan.count("brevo_events_contact") == 3
        assert "brevo_events_status" not in plan

    def test_the_first_due_event_is_found_without_a_look_at_the_finished_ones(self):
        with CaptureQueriesContext(connection) as queries:
            OutboxEvent.objects.seconds_until_first_due()

        plan = plan_of(queries[0]["sql"])
        assert "brevo_events_due" in plan
        if connection.vendor == "sqlite":
            assert "SEARCH" in plan  # a SCAN begins with the rows that have no due time

    def test_what_waits_is_found_without_a_look_at_the_finished_ones(self):
        with CaptureQueriesContext(connection) as queries:
            assert len(OutboxEvent.objects.due_sometime().values_list("status")) == 200

        assert WHOLE[connection.vendor] not in plan_of(queries[0]["sql"])


class BacklogTests:
    """The planner looked before any event of a backlog was sent."""

    def test_what_is_newest_of_its_key_is_found_without_a_look_at_what_has_been_sent(self):
        row = OutboxEvent.of(Event("a", "a@example.com"))
        values = {"name": "a", "email": row.email, "body": row.body}
        backlog = [OutboxEvent(**values, contact=str(n)) for n in range(3000)]
        OutboxEvent.objects.bulk_create(backlog, batch_size=1000)
        analyse(OutboxEvent)
        sent = OutboxEvent.objects.filter(pk__lte=backlog[-200].pk)
        sent.update(status=Status.SENT, due_at=None, finished_at=timezone.now())

        with CaptureQueriesContext(connection) as queries:
            claim(100)

        (look,) = [query["sql"] for query in queries if "LIMIT 1)" in query["sql"]]
        assert "brevo_events_status" not in plan_of(look)


@pytest.mark.skipif(connection.vendor != "mysql", reason="only it is told which index to use")
class NeverAnalysedTests:
    @pytest.fixture
    def _outdated(self):
        """The statistics of an empty table stay."""
        table = OutboxEvent._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} STATS_AUTO_RECALC = 0")
        analyse(OutboxEvent)
        yield
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} STATS_AUTO_RECALC = DEFAULT")

    @pytest.mark.usefixtures("_outdated")
    def test_who_is_being_sent_is_looked_up_by_contact_and_key_on_mariadb(self):
        row = OutboxEvent.of(Event("a", "a@example.com"))
        values = {"name": "a", "email": row.email, "body": row.body}
        for status in (Status.SENDING, Status.PENDING):
            many = [
                OutboxEvent(**values, contact=f"{status}{n}", coalesce_key=f"{status}{n}", status=status)
                for n in range(2000)
            ]
            OutboxEvent.objects.bulk_create(many, batch_size=1000)

        with CaptureQueriesContext(connection) as queries:
            claim(100)

        (look,) = [query["sql"] for query in queries if "LIMIT 1)" in query["sql"]]
        plan = plan_of(look)
        assert (plan.count("brevo_events_contact"), plan.count("brevo_events_coalesce")) == (3, 3)
        assert "brevo_events_status" not in plan


@pytest.mark.usefixtures("_learned")
class PlanTests:
    def test_the_claim_reads_only_what_is_due(self):
        window = OutboxEvent.objects.due().order_by("due_at", "pk")

        with transaction.atomic():
            plan = window.lock_free()[:200].explain()

        assert "brevo_events_due" in plan

    def test_the_idle_question_reads_only_what_is_due(self):
        assert "brevo_events_due" in OutboxEvent.objects.due().values("pk").order_by()[:1].explain()

    def test_the_line_of_a_contact_is_found_by_its_index(self):
        line = OutboxEvent.objects.filter(contact="7", status=Status.PENDING).order_by("pk").values("pk")[:1]

        assert "brevo_events_contact" in line.explain()

    def test_a_capture_finds_what_implies_it_by_contact_or_object(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker"}
        OutboxEvent.objects.filter(pk__gt=0).update(object_id="cart:1")  # of everybody, and few of each
        analyse(OutboxEvent)
        deleted = Event("deleted", "a@example.com", object_id="cart:1", implied_by=("bought",), supersedes=("changed",))

        with CaptureQueriesContext(connection) as queries:
            track(deleted)

        plan = plan_of(queries[0]["sql"])
        assert "brevo_events_object" in plan or "brevo_events_contact" in plan

    def test_the_overview_reads_events_and_attempts_by_their_indexes(self, monkeypatch):
        # A small part of all, as in a busy shop: of a few thousand rows, PostgreSQL rather reads the whole table.
        monkeypatch.setattr("brevo_events.names.NEWEST", 500)
        monkeypatch.setattr("brevo_events.names.TIMED", 100)
        collect()  # counts the hours that are over
        with CaptureQueriesContext(connection) as queries:
            collect()

        statements = [query["sql"] for query in queries if "hourlycount" not in query["sql"]]
        assert len(statements) == 15
        for sql in statements:
            # The newest rows by their key need no other index.
            if "WHERE" in sql:
                whole = OF_EVENTS if "FROM brevo_events_outboxevent e" in sql else WHOLE
                assert whole[connection.vendor] not in plan_of(sql), sql

    def test_a_group_of_failures_is_listed_in_the_order_of_its_index(self):
        failure = OutboxEvent.objects.filter(status=Status.FAILED).values_list("failure", flat=True)[0]
        newest = OutboxEvent.objects.of_failure(failure).order_by("-failed_at", "-pk").values("pk")[:50]

        plan = newest.explain()

        assert "brevo_events_failure" in plan
        assert not any(sorting in plan for sorting in ("Sort", "TEMP B-TREE", "filesort"))

    def test_what_was_captured_between_two_moments_is_found_by_its_index(self):
        OutboxEvent.objects.exclude(finished_at=None).update(created_at=F("finished_at"))
        analyse(OutboxEvent)
        now = timezone.now()
        captured = OutboxEvent.objects.captured_between(now - dt.timedelta(hours=9), now - dt.timedelta(hours=7))

        assert "brevo_events_captured" in captured.order_by("-created_at", "-pk")[:50].explain()

    def test_an_order_is_found_by_its_number(self):
        OutboxEvent.objects.filter(status=Status.FAILED).update(reference=F("contact"))
        analyse(OutboxEvent)

        assert "brevo_events_reference" in OutboxEvent.objects.filter(reference="50").values("pk").explain()

    def test_what_failed_is_filtered_by_name_and_answer_without_reading_its_rows(self):
        failed = OutboxEvent.objects.finished_between(Status.FAILED, timezone.now() - dt.timedelta(days=90), None)
        for which in ({"name": "a"}, {"response_code__gte": 400, "response_code__lt": 500}):
            plan = failed.filter(**which).order_by().values("pk").explain()

            assert "brevo_events_status" in plan
            if connection.vendor == "mysql":
                assert "Using index" in plan

    def test_the_list_reads_a_bounded_part_by_an_index(self, monkeypatch):
        for limit in ("MOST", "NEWEST", "NEWEST_OF_STATUS"):
            monkeypatch.setattr(f"brevo_events.admin.matches.{limit}", 100)
        OutboxEvent.objects.exclude(finished_at=None).update(created_at=F("finished_at"))
        analyse(OutboxEvent)
        browser, table = root(), OutboxEvent._meta.db_table
        whole = {"postgresql": f"Seq Scan on {table}", "sqlite": f"SCAN {table}", "mysql": f"{table} ALL "}[
            connection.vendor
        ]
        for query in LISTS:
            with CaptureQueriesContext(connection) as queries:
                assert browser.get(LIST + query).status_code == 200

            asked = [query["sql"] for query in queries if table in query["sql"] and "WHERE" in query["sql"]]
            assert len(asked) >= 2
            for sql in asked:
                # Of the status that nearly all have, at most so many as are counted, by whatever way.
                if not ("LIMIT 101" in sql and "'sent'" in sql):
                    assert whole not in plan_of(sql), sql

    @pytest.mark.parametrize("page", ["{}/change/", "contact/{}/"])
    @pytest.mark.parametrize("crowd", ["same contact", "others"])
    def test_the_pages_of_an_event_and_a_contact_read_by_their_indexes(self, page, crowd):
        events = OutboxEvent.objects.order_by("pk")
        first = events.filter(status=Status.FAILED).first()
        if crowd == "same contact":
            OutboxEvent.objects.update(contact=first.contact, object_id="cart:1")
        changes = {"status": Status.CANCELLED, "reason": Reason.SUPERSEDED, "object_id": "cart:1"}
        OutboxEvent.objects.filter(pk=first.pk).update(**changes)
        analyse(OutboxEvent)
        browser = root()
        with CaptureQueriesContext(connection) as queries:
            assert browser.get(LIST + page.format(first.pk)).status_code == 200

        table = OutboxEvent._meta.db_table
        asked = [query["sql"] for query in queries if table in query["sql"] and "WHERE" in query["sql"]]
        assert len(asked) >= 5
        for sql in asked:
            # Of a contact to whom all belong, at most so many as are counted, in whatever order they come.
            if "LIMIT 1001" not in sql:
                assert WHOLE[connection.vendor] not in plan_of(sql), sql

    @pytest.mark.skipif(connection.vendor != "mysql", reason="only there does the way to a row decide what is locked")
    @pytest.mark.parametrize("statuses", [[Status.PENDING], [Status.PENDING, Status.SENDING]], ids=len)
    def test_a_user_changes_the_state_of_events_by_their_key_on_mariadb(self, statuses):
        pks = list(OutboxEvent.objects.filter(status=Status.PENDING).values_list("pk", flat=True))

        for chosen in (pks[:1], pks[:7], pks):
            with CaptureQueriesContext(connection) as queries:
                OutboxEvent.objects.with_status(statuses, chosen).update(**cancelled(Reason.OPERATOR))

            assert queries[0]["sql"].startswith("UPDATE")
            assert key_of(queries[0]["sql"]) == "PRIMARY"

    @pytest.mark.skipif(connection.vendor != "mysql", reason="only there does the way to a row decide what is locked")
    def test_a_capture_supersedes_by_the_key_on_mariadb(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker"}
        old = [OutboxEvent.of(Event("cart_updated", "7@example.com", object_id="x")) for _ in range(20)]
        OutboxEvent.objects.bulk_create(old)
        with CaptureQueriesContext(connection) as queries:
            track(Event("order_completed", "7@example.com", object_id="x", supersedes=["cart_updated"]))

        (update,) = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
        assert key_of(update) == "PRIMARY"
        assert OutboxEvent.objects.filter(reason=Reason.SUPERSEDED).count() == 20
