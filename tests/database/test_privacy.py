from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from brevo_events import privacy, retention, track, track_many
from brevo_events.choices import UNFINISHED, Reason, Status
from brevo_events.clock import UtcNow, in_seconds
from brevo_events.delivery import deliver
from brevo_events.events import Event
from brevo_events.models import OutboxEvent, SendAttempt
from brevo_events.querysets import SKIPPED_ERASED, OutboxEventQuerySet
from brevo_events.testing import Reply
from brevo_events.transports import locmem
from brevo_events.worker import Worker
from tests.deliveries import answered, claim, record
from tests.rows import held_elsewhere

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("by_hand")]

ADA, BOB = "ada@example.com", "bob@example.com"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = 24 * 3600


def rows():
    return list(OutboxEvent.objects.order_by("pk").values())


def fresh(event):
    return OutboxEvent.objects.get(pk=event.pk)


def attempt(event, **more):
    return SendAttempt.objects.create(**{"event": event, "started_at": NOON, "duration_ms": 12, **more})


def ended(email=ADA, status=Status.SENT, *, days=0.0, **more):
    """Capture an event that has ended so many days ago."""
    event = track("viewed", email)
    values = {"status": status, "due_at": None, "finished_at": in_seconds(-days * DAY), **more}
    OutboxEvent.objects.filter(pk=event.pk).update(**values)
    return event


def dump():
    """Return every row of the app's tables and of the admin's log as text, in small letters."""
    tables = [model._meta.db_table for model in (*apps.get_app_config("brevo_events").get_models(), LogEntry)]
    with connection.cursor() as cursor:
        lines = []
        for table in tables:
            cursor.execute(f"SELECT * FROM {table}")
            lines += [" ".join(map(str, row)) for row in cursor.fetchall()]
    return "\n".join(lines).lower()


@contextmanager
def in_thread(work, *arguments):
    """Run something beside the test, on a connection of its own; raise what it raised."""
    errors = []

    def run():
        try:
            work(*arguments)
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(30)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


def drain():
    """Deliver until nothing is left to do: two workers in each other's way look again after a second."""
    ends_at = time.monotonic() + 15
    while deliver() or (OutboxEvent.objects.exclude(due_at=None).exists() and time.monotonic() < ends_at):
        time.sleep(0.1)


class ExportTests:
    def test_gives_every_column_the_body_and_the_attempts(self):
        event = track("viewed", ADA, object_id="cart:1", data={"total": 9.5}, properties={"FIRSTNAME": "Ada"})
        attempt(event, response_code=503, error="oops", answer="try later")

        (told,) = privacy.export(ADA)

        body = {
            "email": ADA,
            "event": "viewed",
            "properties": {"FIRSTNAME": "Ada"},
            "eventdata": {"id": "cart:1", "data": {"total": 9.5}},
        }
        assert told == {**rows()[0], "body": body, "send_attempts": list(SendAttempt.objects.values())}

    def test_gives_events_and_their_attempts_in_their_order(self):
        events = [track("viewed", ADA) for _ in range(3)]
        made = [attempt(event, response_code=code) for event in events for code in (503, 429, 204)]
        for one in made[:4]:
            one.save()  # PostgreSQL reads a row that was written again after the others

        told = list(privacy.export(ADA))

        assert [event["id"] for event in told] == [event.pk for event in events]
        assert [[a["response_code"] for a in event["send_attempts"]] for event in told] == [[503, 429, 204]] * 3

    def test_gives_nothing_of_anybody_else(self):
        track("viewed", ADA)
        attempt(track("viewed", BOB), answer="about bob")

        told = list(privacy.export(ADA))

        assert [event["email"] for event in told] == [ADA]
        assert "bob" not in str(told)

    def test_of_an_unknown_contact_is_empty(self):
        track("viewed", ADA)

        assert list(privacy.export("nobody@example.com")) == []

    @pytest.mark.parametrize(
        ("captured", "asked"),
        [
            (ADA, " ADA@Example.COM "),
            ("Ada@EXAMPLE.com", ADA),
            ("ada@müller.example", "ada@xn--mller-kva.example"),
            ("ada@xn--mller-kva.example", "Ada@MÜLLER.example"),
            ("josé@example.com", "JOSÉ@example.com"),
        ],
    )
    def test_finds_every_spelling_of_an_address(self, captured, asked):
        track("viewed", captured)

        assert [event["email"] for event in privacy.export(asked)] == [captured]

    def test_holds_another_address_for_another(self):
        track("viewed", "josé@example.com")

        assert list(privacy.export("jose@example.com")) == []


class EraseTests:
    def test_cancels_what_waits(self):
        waiting, delayed = track("viewed", ADA), track("viewed", ADA, delay=3600)

        assert list(privacy.erase(ADA)) == [2]

        for event in (fresh(waiting), fresh(delayed)):
            assert (event.status, event.reason, event.is_erased) == (Status.CANCELLED, Reason.ERASED, True)
            assert event.finished_at is not None
        assert deliver() == {}
        assert locmem.sent == []
        assert [event["due_at"] for event in rows()] == [None, None]

    def test_keeps_names_codes_and_times_and_nothing_else(self):
        event = track("viewed", ADA, object_id="ada", data={"n": 1}, coalesce=True, expires=60, idempotency_key="k")
        values = {"status": Status.FAILED, "reason": Reason.REJECTED, "response_code": 400, "attempts": 3}
        failure = {"failure": "f" * 16, "failed_at": NOON}
        OutboxEvent.objects.update(**values, **failure, due_at=None, finished_at=NOON, source="shop.cart:1")
        attempt(event, response_code=400, error="bad_ada", answer="about ada")
        attempt(event, error="timeout", answer="no answer for ada")
        before, tried = rows()[0], list(SendAttempt.objects.order_by("pk").values())

        assert list(privacy.erase(ADA)) == [1]

        kept = (
            "id",
            "name",
            "call",
            "created_at",
            "available_at",
            "due_at",
            "expires_at",
            "finished_at",
            "parked",
            *values,
        )
        after = rows()[0]
        assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
        assert {name: value for name, value in after.items() if name not in kept} == {
            "email": "",
            "contact": "",
            "object_id": None,
            "body": "{}",
            "source": "",
            "coalesce_key": None,
            "idempotency_key": None,
            "reference": None,
            "failure": None,
            "failed_at": None,
            "lease_token": None,
        }
        assert list(SendAttempt.objects.order_by("pk").values()) == [
            {**tried[0], "error": "", "answer": ""},
            {**tried[1], "error": "timeout", "answer": ""},
        ]

    @pytest.mark.parametrize("email", [ADA, "Ada.Lovelace@Example.com", "ada@müller.example"])
    def test_leaves_nothing_by_which_a_search_finds_the_address(self, fake_brevo, email):
        local, domain = email.lower().split("@")
        refusal = Reply.error(400, f"bad_{local}", f"{email.upper()} is no contact, nor is {local}")
        fake_brevo.next(Reply.error(503, "oops", email), refusal, Reply())
        failed = track("viewed", email.upper(), object_id=f"customer:{email}", properties={"ALIAS": local})
        deliver()
        OutboxEvent.objects.update(due_at=in_seconds(-1), source=f"shop.customer:{email}")
        deliver()
        sent = track("bought", email, data={"who": {"email": email}}, idempotency_key=email)
        deliver()
        waiting = track("viewed", email.title(), delay=60)
        assert [fresh(e).status for e in (failed, sent, waiting)] == [Status.FAILED, Status.SENT, Status.PENDING]
        browser = Client()
        browser.force_login(User.objects.create_superuser("root"))

        def act(name, *events):
            chosen = {"pks": ",".join(str(event.pk) for event in events), "confirmed": "1"}
            assert (
                browser.post(reverse("admin:brevo_events_outboxevent_action", args=[name]), chosen).status_code == 302
            )

        act("cancel", waiting)
        act("resend", failed)
        assert dump().count(local) > 10
        assert domain in dump()

        act("erase", sent)

        assert LogEntry.objects.count() > 2
        assert email.lower() not in dump()
        assert local not in dump()
        assert domain not in dump()

    @pytest.mark.parametrize("reply", [Reply(), Reply.error(400, "bad", ADA), Reply.error(503, "oops", ADA)])
    def test_what_is_being_sent_writes_nothing_back(self, fake_brevo, caplog, reply):
        event = track("viewed", ADA)
        fake_brevo.next(Reply(reply.status, reply.headers, reply.body, delay=0.5))

        with in_thread(deliver):
            fake_brevo.wait_for(1)
            assert fresh(event).lease_token

            assert list(privacy.erase(ADA)) == [1]

            assert fresh(event).lease_token is None

        row = fresh(event)
        assert (row.status, row.reason, row.response_code) == (Status.CANCELLED, Reason.ERASED, None)
        assert (row.attempts, row.due_at) == (0, None)
        assert not SendAttempt.objects.exists()
        assert "came back after its lease had run out" in caplog.text
        assert "ada" not in caplog.text + dump()
        assert deliver() == {}
        assert len(fake_brevo.requests) == 1

    def test_what_waits_for_its_turn_in_a_worker_does_not_go_out_late(self, fake_brevo, settings, monkeypatch):
        monkeypatch.setattr("brevo_events.delivery.pipeline.CONSENT_TTL", 0.1)
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 1}
        track("viewed", BOB)
        event = track("viewed", ADA)
        fake_brevo.always(Reply(204, delay=0.5))

        with in_thread(deliver):
            fake_brevo.wait_for(1)
            assert fresh(event).lease_token

            assert list(privacy.erase(ADA)) == [1]

        assert [request.json["email"] for request in fake_brevo.requests] == [BOB]

    def test_leaves_all_others_alone(self, fake_brevo):
        fake_brevo.next(Reply.error(400, "bad", "Bob"))
        track("viewed", BOB)
        deliver()
        track("viewed", BOB, object_id="cart:1", coalesce=True, idempotency_key="bob")
        track("viewed", "ada@example.org")
        track("viewed", "eve.ada@example.com")
        before, tried = rows(), list(SendAttempt.objects.values())
        track("viewed", ADA)

        assert list(privacy.erase(ADA)) == [1]

        assert rows()[:-1] == before
        assert list(SendAttempt.objects.values()) == tried

    def test_lets_what_is_captured_afterwards_go_out(self):
        track("viewed", ADA)
        claim(1)
        parked = track("viewed", ADA)
        claim(1)
        assert fresh(parked).parked

        assert list(privacy.erase(ADA)) == [2]
        track("bought", ADA)

        assert deliver() == {Status.SENT: 1}
        assert [body["event"] for body in locmem.sent] == ["bought"]

    def test_finds_every_spelling_of_an_address(self):
        for email in (ADA, "ADA@EXAMPLE.COM", "Ada@Example.com"):
            track("viewed", email)

        assert list(privacy.erase("aDA@example.COM ")) == [3]

        assert "ada" not in dump()

    def test_erase_takes_only_those_of_the_contacts_events_that_are_named(self):
        first, second = track("viewed", ADA), track("viewed", ADA)
        other = track("viewed", BOB)

        assert sum(privacy.erase(ADA, [first.pk, other.pk, 0])) == 1

        assert [fresh(event).status for event in (first, second, other)] == [
            Status.CANCELLED,
            Status.PENDING,
            Status.PENDING,
        ]
        assert list(privacy.erase(ADA, [])) == []

    def test_erase_of_the_first_in_line_lets_the_next_one_go(self):
        first, second = track("viewed", ADA), track("viewed", ADA)
        record([answered(claim(10)[0], 500)])
        assert claim(10) == []
        assert fresh(second).parked

        list(privacy.erase(ADA, [first.pk]))

        assert claim(10) == [second]

    def test_of_an_unknown_contact_does_nothing(self):
        track("viewed", ADA)
        before = rows()

        with CaptureQueriesContext(connection) as queries:
            assert list(privacy.erase("nobody@example.com")) == []

        assert rows() == before
        assert len(queries) == 1

    def test_of_an_erased_contact_does_nothing(self):
        track("viewed", ADA)
        assert sum(privacy.erase(ADA)) == 1

        assert sum(privacy.erase(ADA)) == 0

    def test_is_rolled_back_with_the_transaction_that_it_runs_in(self):
        attempt(track("viewed", ADA), answer="about ada")
        before, tried = rows(), list(SendAttempt.objects.values())

        with transaction.atomic():
            assert sum(privacy.erase(ADA)) == 1
            assert "ada" not in dump()
            transaction.set_rollback(True)

        assert (rows(), list(SendAttempt.objects.values())) == (before, tried)

        with transaction.atomic():
            assert sum(privacy.erase(ADA)) == 1

        assert "ada" not in dump()

    def test_takes_many_events_in_several_steps(self):
        track_many(Event("viewed", ADA, object_id=f"cart:{number}") for number in range(1200))
        track("viewed", BOB)

        with CaptureQueriesContext(connection) as queries:
            assert list(privacy.erase(ADA)) == [500, 500, 200]

        assert [query["sql"] for query in queries].count("COMMIT") == 3
        assert OutboxEvent.objects.filter(status=Status.CANCELLED, reason=Reason.ERASED, contact="").count() == 1200
        assert fresh(OutboxEvent.objects.of_contact(BOB).get()).status == Status.PENDING

    def test_cannot_be_undone_by_a_resend(self):
        event = ended(status=Status.FAILED)
        sum(privacy.erase(ADA))

        asked = {"include_sent": True, "include_outdated": True, "include_expired": True}
        result = OutboxEvent.objects.filter(pk=event.pk).resend(**asked)

        assert (result.pks, result.skipped) == ([], {str(SKIPPED_ERASED): 1})
        assert deliver() == {}

    def test_cannot_be_undone_by_a_resend_that_has_begun_before(self, monkeypatch):
        event = ended(status=Status.FAILED)
        resend = OutboxEventQuerySet.update
        erased = []

        def update(self, **values):
            if values.get("status") == Status.PENDING and not erased:
                erased.append(True)
                sum(privacy.erase(ADA))
            return resend(self, **values)

        monkeypatch.setattr(OutboxEventQuerySet, "update", update)

        OutboxEvent.objects.filter(pk=event.pk).resend()

        assert erased
        assert (fresh(event).status, fresh(event).is_erased) == (Status.FAILED, True)

    def test_lets_no_resend_in_between_its_statements(self, monkeypatch):
        if not connection.features.has_select_for_update:
            pytest.skip("SQLite lets nobody in between")
        event = ended(status=Status.FAILED)
        update = OutboxEventQuerySet.update
        tried = []

        def resend():
            with connection.cursor() as cursor, suppress(DatabaseError):
                wait = "innodb_lock_wait_timeout = 1" if connection.vendor == "mysql" else "lock_timeout = 300"
                cursor.execute(f"SET {wait}")
                update(OutboxEvent.objects.filter(pk=event.pk), status=Status.PENDING, due_at=in_seconds(0))

        def then_resend(self, **values):
            done = update(self, **values)
            if not tried:
                tried.append(True)
                with in_thread(resend):
                    pass
            return done

        monkeypatch.setattr(OutboxEventQuerySet, "update", then_resend)

        assert sum(privacy.erase(ADA)) == 1

        assert tried
        assert (fresh(event).is_erased, fresh(event).status) == (True, Status.FAILED)

    def test_goes_well_with_workers_at_work(self, caplog):
        caplog.set_level(logging.WARNING)
        people = [f"person-{number}@example.com" for number in range(8)]
        track_many(
            Event("viewed", email, object_id=f"cart:{n % 3}", coalesce=n % 2 > 0) for n in range(40) for email in people
        )
        workers = [Worker(concurrency=4) for _ in range(2)]

        with in_thread(workers[0].run), in_thread(workers[1].run):
            time.sleep(0.1)
            erased = sum(sum(privacy.erase(email)) for email in people[:4])
            for worker in workers:
                worker.stop()
        drain()

        assert erased == 160
        assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []
        assert not OutboxEvent.objects.exclude(due_at=None).exists()
        assert OutboxEvent.objects.filter(contact="").count() == 160
        assert not SendAttempt.objects.filter(event__contact="").exclude(answer="").exists()
        assert not any(email in dump() for email in people[:4])
        for email in people[4:]:
            assert set(OutboxEvent.objects.of_contact(email).values_list("status", "reason")) <= {
                (Status.SENT, ""),
                (Status.CANCELLED, Reason.SUPERSEDED),
            }


class PruneTests:
    @pytest.mark.parametrize(
        ("status", "reason", "days"),
        [
            (Status.SENT, "", 30),
            (Status.FAILED, Reason.REJECTED, 90),
            (Status.FAILED, Reason.GAVE_UP, 90),
            (Status.CANCELLED, Reason.SUPERSEDED, 30),
            (Status.CANCELLED, Reason.EXPIRED, 30),
            (Status.CANCELLED, Reason.NO_CONSENT, 30),
            (Status.CANCELLED, Reason.OPERATOR, 30),
            (Status.CANCELLED, Reason.ERASED, 30),
        ],
    )
    def test_deletes_what_ended_longer_ago_than_its_age(self, status, reason, days):
        ended(status=status, reason=reason, days=days + 0.01)
        young = ended(status=status, reason=reason, days=days - 0.01)

        assert list(retention.prune()) == [1]

        assert list(OutboxEvent.objects.all()) == [young]

    def test_takes_the_ages_of_the_settings(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker", "RETENTION_DAYS": 2, "FAILED_RETENTION_DAYS": 4}
        ended(days=2.1)
        ended(status=Status.FAILED, days=4.1)
        kept = [ended(days=1.9), ended(status=Status.FAILED, days=3.9)]

        assert sum(retention.prune()) == 2

        assert list(OutboxEvent.objects.order_by("pk")) == kept

    def test_takes_ages_of_its_own(self):
        ended(days=0.6)
        ended(status=Status.FAILED, days=1.6)
        ended(status=Status.CANCELLED, reason=Reason.SUPERSEDED, days=0.6)
        kept = [
            ended(days=0.4),
            ended(status=Status.FAILED, days=1.4),
            ended(status=Status.CANCELLED, reason=Reason.SUPERSEDED, days=0.4),
        ]

        assert sum(retention.prune(days=0.5, failed_days=1.5)) == 3

        assert list(OutboxEvent.objects.order_by("pk")) == kept

    def test_keeps_what_has_still_to_go_out(self):
        for email in (ADA, BOB):
            track("viewed", email)
        claim(1)
        # A resend keeps no moment of the end, but whatever it keeps must not count.
        OutboxEvent.objects.update(created_at=in_seconds(-400 * DAY), finished_at=in_seconds(-400 * DAY))
        assert set(OutboxEvent.objects.values_list("status", flat=True)) == set(UNFINISHED)

        assert list(retention.prune(days=0, failed_days=0)) == []

        assert OutboxEvent.objects.count() == 2

    def test_keeps_what_a_worker_has_still_to_settle(self):
        track("viewed", ADA)
        claim(1)
        behind = track("viewed", ADA)
        claim(1)
        first = OutboxEvent.objects.exclude(pk=behind.pk).get()
        OutboxEvent.objects.filter(pk=first.pk).update(status=Status.PENDING, lease_token=None, due_at=in_seconds(0))
        OutboxEvent.objects.filter(pk=first.pk).cancel()
        OutboxEvent.objects.filter(pk=first.pk).update(finished_at=in_seconds(-400 * DAY))

        assert list(retention.prune(days=0, failed_days=0)) == []
        assert deliver() == {Status.SENT: 1}  # the one behind was freed

        OutboxEvent.objects.update(finished_at=in_seconds(-400 * DAY))
        assert sum(retention.prune()) == 2

    @pytest.mark.parametrize("status", [Status.SENT, Status.CANCELLED])
    @pytest.mark.parametrize("alike", [{"object_id": "cart:1"}, {"coalesce_key": "k"}], ids=lambda alike: min(alike))
    @pytest.mark.parametrize("stale", [Status.FAILED, Status.CANCELLED])
    def test_keeps_what_a_stale_event_is_older_than(self, stale, alike, status):
        old = ended(status=stale, reason=Reason.OPERATOR, days=29, **alike)
        newer = ended(status=status, reason=Reason.OPERATOR, days=40, **alike)

        assert sum(retention.prune()) == 0
        assert OutboxEvent.objects.filter(pk=old.pk).resend().pks == []

        OutboxEvent.objects.filter(pk=old.pk).update(finished_at=in_seconds(-91 * DAY))
        assert sum(retention.prune()) == 2
        assert not OutboxEvent.objects.filter(pk=newer.pk).exists()

    def test_keeps_a_failed_event_too_that_an_older_one_is_outdated_by(self):
        ended(status=Status.CANCELLED, reason=Reason.OPERATOR, days=20, object_id="cart:1")
        ended(status=Status.FAILED, days=20, object_id="cart:1")

        assert sum(retention.prune(failed_days=7)) == 0
        assert sum(retention.prune(days=7, failed_days=7)) == 2

    def test_counts_beforehand_what_goes_with_its_older_ones(self):
        ended(status=Status.CANCELLED, reason=Reason.SUPERSEDED, days=45, object_id="cart:1")
        ended(status=Status.SENT, days=45, object_id="cart:1")

        assert sum(events.count() for events in retention.prunable()) == 2
        assert sum(retention.prune()) == 2

    def test_keeps_nothing_for_a_stale_event_of_something_else(self):
        ended(status=Status.FAILED, days=29, object_id="cart:1")
        ended(days=40, object_id="cart:2")
        ended(BOB, days=40, object_id="cart:1")
        ended(days=40)

        assert sum(retention.prune()) == 3

    def test_deletes_the_attempts_too_and_no_others(self):
        old, young = ended(days=31), ended(days=29)
        attempt(old, response_code=503)
        attempt(old, response_code=204)
        kept = attempt(young, response_code=204)

        assert sum(retention.prune()) == 1

        assert list(SendAttempt.objects.all()) == [kept]

    def test_keeps_what_is_resent_meanwhile(self, monkeypatch):
        events = [ended(email, days=31, status=Status.CANCELLED, reason=Reason.OPERATOR) for email in (ADA, BOB)]
        begin = OutboxEventQuerySet.begin_writing

        def resend_first(self):
            begin(self)
            OutboxEvent.objects.filter(pk=events[0].pk).resend()

        monkeypatch.setattr(OutboxEventQuerySet, "begin_writing", resend_first)

        assert list(retention.prune()) == [1]

        monkeypatch.undo()
        assert list(OutboxEvent.objects.values_list("pk", "status")) == [(events[0].pk, Status.PENDING)]

    def test_takes_steps_of_a_transaction_each(self, monkeypatch):
        monkeypatch.setattr(retention, "BATCH", 3)
        for days in (31, 32, 33, 34, 35, 36, 37):
            attempt(ended(days=days))

        with CaptureQueriesContext(connection) as queries:
            steps = retention.prune()
            assert next(steps) == 3
            assert not connection.in_atomic_block
            assert list(steps) == [3, 1]

        assert [query["sql"] for query in queries].count("COMMIT") == 3
        assert not OutboxEvent.objects.exists()

    def test_takes_smaller_steps_where_they_hold_up_everybody(self):
        track_many(Event("viewed", ADA) for _ in range(501))
        OutboxEvent.objects.update(status=Status.SENT, due_at=None, finished_at=NOON)

        steps = list(retention.prune(days=1))

        assert steps == ([500, 1] if connection.features.has_select_for_update else [100] * 5 + [1])

    def test_takes_the_oldest_first(self, monkeypatch):
        monkeypatch.setattr(retention, "BATCH", 2)
        young, *_older = (ended(days=days) for days in (31, 33, 32))

        next(retention.prune())

        assert list(OutboxEvent.objects.all()) == [young]

    def test_gets_through_many_that_ended_at_the_same_moment(self, monkeypatch):
        monkeypatch.setattr(retention, "BATCH", 3)
        for _ in range(8):
            ended()
        OutboxEvent.objects.update(finished_at=NOON)

        assert list(retention.prune(days=0)) == [3, 3, 2]

    def test_gets_through_many_that_ended_at_once_by_the_clock_of_the_database(self, monkeypatch):
        monkeypatch.setattr(retention, "BATCH", 2)
        for _ in range(6):
            ended()
        OutboxEvent.objects.update(finished_at=UtcNow())

        assert list(retention.prune(days=0)) == [2, 2, 2]

    @pytest.mark.parametrize("held", [slice(0, 1), slice(0, 3), slice(2, 5), slice(0, 7)], ids=str)
    @pytest.mark.parametrize("moments", ["one", "several"])
    def test_skips_what_is_locked_elsewhere_without_waiting(self, monkeypatch, held, moments):
        monkeypatch.setattr(retention, "BATCH", 2)
        events = [ended(days=40 - number) for number in range(7)]
        if moments == "one":
            OutboxEvent.objects.update(finished_at=NOON)

        with held_elsewhere(*events[held]):
            began = time.monotonic()
            deleted = sum(retention.prune(days=1))
            took = time.monotonic() - began
            assert set(OutboxEvent.objects.all()) == set(events[held])

        assert deleted == 7 - len(events[held])
        assert took < 2
        assert sum(retention.prune(days=1)) == len(events[held])

    def test_rests_between_two_transactions_for_as_long_as_the_last_took(self, monkeypatch):
        monkeypatch.setattr(retention, "BATCH", 1)
        rests = []
        monkeypatch.setattr(retention, "time", SimpleNamespace(sleep=rests.append, monotonic=time.monotonic))
        delete = retention._delete
        monkeypatch.setattr(retention, "_delete", lambda events: time.sleep(0.05) or delete(events))
        for days in (31, 32):
            ended(days=days)

        assert list(retention.prune()) == [1, 1]

        assert len(rests) == 2
        assert all(0.05 <= rest <= 1 for rest in rests)

    def test_of_nothing_begins_no_transaction(self):
        ended(days=3)

        with CaptureQueriesContext(connection) as queries:
            assert list(retention.prune()) == []

        assert len(queries) == 5  # two of them for interruptions
        assert not [query["sql"] for query in queries if query["sql"].startswith("BEGIN")]
        assert all(query["sql"].startswith("SELECT") for query in queries)

    def test_says_beforehand_what_it_would_delete(self):
        ended(days=31)
        ended(days=29)
        ended(status=Status.FAILED, days=91)
        ended(status=Status.CANCELLED, reason=Reason.SUPERSEDED, days=31)
        ended(status=Status.CANCELLED, reason=Reason.ERASED, days=31)

        assert [events.count() for events in retention.prunable()] == [1, 2, 1]
        assert OutboxEvent.objects.count() == 5
        assert sum(retention.prune()) == 4

    def test_goes_well_with_workers_at_work(self, caplog, monkeypatch):
        monkeypatch.setattr(retention, "BATCH", 20)
        caplog.set_level(logging.WARNING)
        people = [f"person-{number}@example.com" for number in range(8)]
        track_many(Event("viewed", email) for _ in range(40) for email in people)
        old = track_many(Event("viewed", email) for _ in range(40) for email in people)
        over = {"status": Status.SENT, "due_at": None, "finished_at": in_seconds(-40 * DAY)}
        OutboxEvent.objects.filter(pk__in=[event.pk for event in old]).update(**over)
        SendAttempt.objects.bulk_create(SendAttempt(event=event, started_at=NOON, duration_ms=1) for event in old)
        workers = [Worker(concurrency=4) for _ in range(2)]

        with in_thread(workers[0].run), in_thread(workers[1].run):
            deleted = sum(retention.prune())
            for worker in workers:
                worker.stop()
        drain()

        assert deleted == 320
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
        assert OutboxEvent.objects.filter(status=Status.SENT, attempts=1).count() == 320
        assert SendAttempt.objects.count() == 320

    def test_goes_well_twice_at_a_time(self, monkeypatch):
        monkeypatch.setattr(retention, "BATCH", 10)
        people = [f"person-{number}@example.com" for number in range(8)]
        old = track_many(Event("viewed", email) for _ in range(100) for email in people)
        OutboxEvent.objects.update(status=Status.SENT, due_at=None, finished_at=in_seconds(-40 * DAY))
        SendAttempt.objects.bulk_create(SendAttempt(event=event, started_at=NOON, duration_ms=1) for event in old)
        deleted = []

        def prune():
            deleted.append(sum(retention.prune()))

        with in_thread(prune), in_thread(prune):
            prune()

        assert sum(deleted) == len(old)
        assert not OutboxEvent.objects.exists()
        assert not SendAttempt.objects.exists()

    def test_keeps_what_a_newer_event_stood_in_for_as_long_as_that_one(self):
        for _ in range(2):
            track("viewed", ADA, coalesce=True)
        deliver()
        assert set(OutboxEvent.objects.values_list("reason", flat=True)) == {"", Reason.SUPERSEDED}

        OutboxEvent.objects.update(finished_at=in_seconds(-29 * DAY))
        assert list(retention.prune()) == []
        OutboxEvent.objects.update(finished_at=in_seconds(-31 * DAY))
        assert sum(retention.prune()) == 2
