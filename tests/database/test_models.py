from __future__ import annotations

import datetime as dt
import io
import warnings

import pytest
from django.core import checks
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from brevo_events import Event, delivery, models, track
from brevo_events.addresses import contact_hash
from brevo_events.choices import UNFINISHED
from brevo_events.clock import UtcNow, in_seconds
from brevo_events.delivery import deliver
from brevo_events.models import Gate, GateReason, OutboxEvent, Reason, SendAttempt, Status
from brevo_events.testing import Reply


def stored():
    return Gate.objects.get()


def seconds_until(moment):
    """Return the distance to a moment by the database's clock."""
    return (moment - Gate.objects.annotate(now=UtcNow()).values_list("now", flat=True)[0]).total_seconds()


def closed(reason=GateReason.OUTAGE, response_code=503, **more):
    assert Gate.load().close(reason, response_code, **more)
    return Gate.load()


def end_cooldown():
    Gate.objects.update(closed_until=in_seconds(-1))
    return Gate.load()


class PublicNamesTests:
    def test_are_those_of_the_design(self):
        outbox = {"Gate", "GateReason", "OutboxEvent", "Reason", "SendAttempt", "Status"}
        assert set(models.__all__) == outbox | {"Heartbeat", "Interruption"}
        assert Status.values == ["pending", "sending", "sent", "failed", "cancelled"]
        assert Reason.values == [
            "rejected",
            "gave_up",
            "superseded",
            "expired",
            "no_consent",
            "operator",
            "app",
            "erased",
        ]

    @pytest.mark.parametrize("choices", [Status, Reason, GateReason])
    def test_of_choices_fit_their_columns(self, choices):
        assert max(len(value) for value in choices.values) <= 10


class OutboxEventTests:
    def test_is_made_of_an_event_with_the_exact_text_to_send(self):
        event = Event("viewed", "Ada@Example.com", object_id="cart:1", data={"a": "é"}, properties={"FIRSTNAME": "Ada"})

        row = OutboxEvent.of(event)

        assert row.pk is None
        assert row.body == event.json()
        assert (row.name, row.email, row.object_id) == ("viewed", "Ada@Example.com", "cart:1")
        assert row.contact == contact_hash("ada@example.com")
        assert (row.status, row.reason, row.attempts, row.parked) == (Status.PENDING, "", 0, False)

    @pytest.mark.parametrize("given", [{}, {"data": {}, "properties": {}}, {"object_id": "cart:1"}])
    def test_has_no_data_and_properties_where_none_were_given(self, given):
        row = OutboxEvent.of(Event("viewed", "ada@example.com", **given))

        assert (row.data, row.properties) == (None, None)

    def test_gives_back_what_it_was_captured_with(self):
        row = OutboxEvent.of(Event("viewed", "ada@example.com", data={"n": 1, "t": [None]}, properties={"SMS": "1"}))

        assert (row.data, row.properties) == ({"n": 1, "t": [None]}, {"SMS": "1"})

    def test_shows_number_and_name_and_never_the_address(self):
        row = OutboxEvent.of(Event("viewed", "ada@example.com"))
        row.pk = 7

        assert str(row) == "viewed #7"
        assert "ada" not in repr(row)

    @pytest.mark.parametrize("status", Status)
    def test_is_finished_when_nothing_is_left_to_do(self, status):
        assert OutboxEvent(status=status).is_finished is (status in ("sent", "failed", "cancelled"))
        assert OutboxEvent(status=status).is_finished is (status not in UNFINISHED)

    @pytest.mark.django_db
    @pytest.mark.parametrize(
        ("column", "one", "other"),
        [
            ("name", "viewed", "Viewed"),
            ("name", "viewed", "viewéd"),
            ("name", "viewed", "viewed "),
            ("object_id", "cart:a", "cart:A"),
            ("object_id", "cart:a", "cart:ä"),
            ("email", "ada@example.com", "Ada@example.com"),
        ],
    )
    def test_tells_like_texts_apart_on_every_database(self, column, one, other):
        for text in (one, other):
            track(**{"name": "viewed", "email": "ada@example.com", column: text})

        assert [getattr(row, column) for row in OutboxEvent.objects.filter(**{column: one})] == [one]
        assert [getattr(row, column) for row in OutboxEvent.objects.filter(**{column: other})] == [other]

    @pytest.mark.django_db
    def test_keeps_every_script_and_the_longest_values(self):
        email = "a" * 248 + "@é.com"
        text = "Ada 愛達 🎁 \x01 \u2028"
        track("🎁" * 255, email, object_id="愛" * 255, data={"text": text}, properties={"FIRSTNAME": text})

        row = OutboxEvent.objects.get()
        assert (row.name, row.email, row.object_id) == ("🎁" * 255, email, "愛" * 255)
        assert (row.data, row.properties) == ({"text": text}, {"FIRSTNAME": text})


@pytest.mark.django_db(transaction=True)
class SendAttemptTests:
    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            ('{"code": "out_of_range", "message": "Too far"}', "Too far"),
            ("<html>down</html>", "<html>down</html>"),
            ("", ""),
        ],
    )
    def test_gives_brevos_message_or_what_came(self, answer, message):
        assert SendAttempt(answer=answer).message == message

    def test_shows_its_code_or_what_went_wrong(self):
        assert str(SendAttempt(pk=3, response_code=400, error="out_of_range")) == "#3: 400"
        assert str(SendAttempt(pk=3, error="timeout")) == "#3: timeout"

    def test_is_kept_for_each_request_and_goes_with_its_event(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "RETRY_BACKOFF": 0}
        fake_brevo.next(Reply.error(500, "down"))
        event = track("viewed", "ada@example.com")
        deliver()

        assert list(event.send_attempts.order_by("pk").values_list("response_code", flat=True)) == [500, 204]

        OutboxEvent.objects.all().delete()

        assert not SendAttempt.objects.exists()


@pytest.mark.django_db(transaction=True)
class OpenGateTests:
    def test_is_not_stored_before_anything_closes_it(self):
        gate = Gate.load()

        assert (gate.is_closed, gate.is_paused, gate.is_probe_due, str(gate)) == (False, False, False, "open")
        assert not Gate.objects.exists()

    def test_is_loaded_in_one_query(self, django_assert_num_queries):
        with django_assert_num_queries(1):
            Gate.load()

    def test_cannot_be_opened(self):
        assert Gate.load().open() is False
        assert Gate.load().win_probe() is False


@pytest.mark.django_db(transaction=True)
class CloseTests:
    def test_holds_sending_back_with_the_reason_and_for_a_while(self):
        assert Gate.load().close(GateReason.ACCOUNT, 401) is True

        gate = Gate.load()
        assert (gate.is_closed, gate.is_probe_due, str(gate)) == (True, False, "closed")
        assert (gate.reason, gate.response_code) == (GateReason.ACCOUNT, 401)
        assert seconds_until(gate.closed_at) == pytest.approx(0, abs=5)
        assert seconds_until(gate.closed_until) == pytest.approx(Gate.FIRST_COOLDOWN, abs=5)
        assert abs(gate.closed_at - timezone.now()) < dt.timedelta(seconds=60)

    def test_holds_for_as_long_as_is_asked(self):
        gate = closed(GateReason.THROTTLED, 429, seconds=1000)

        assert seconds_until(gate.closed_until) == pytest.approx(1000, abs=5)

    def test_for_no_time_at_all_still_leaves_a_second_which_doubles(self):
        gate, waits = closed(seconds=0), []
        for _ in range(4):
            waits.append(round(seconds_until(gate.closed_until)))
            assert gate.close(GateReason.THROTTLED, 429, 0.0)
            gate = Gate.load()

        assert waits == [1, 2, 4, 8]

    def test_happens_once_for_all_who_saw_it_open(self):
        first, second = Gate.load(), Gate.load()

        assert first.close(GateReason.ACCOUNT, 401) is True
        assert second.close(GateReason.OUTAGE, 503) is False
        assert (stored().reason, stored().generation) == (GateReason.ACCOUNT, 1)

    def test_happens_once_for_all_who_saw_it_open_again(self):
        assert closed().open()
        first, second = Gate.load(), Gate.load()

        assert first.close(GateReason.ACCOUNT, 401) is True
        assert second.close(GateReason.OUTAGE, 503) is False
        assert stored().reason == GateReason.ACCOUNT

    def test_doubles_the_cooldown_with_each_failed_probe_up_to_a_limit(self):
        gate = closed()
        waits = []
        for _ in range(7):
            assert gate.close(GateReason.OUTAGE, None) is True
            gate = Gate.load()
            waits.append(round(seconds_until(gate.closed_until), -1))

        assert waits == [10, 20, 40, 80, 160, 300, 300]

    def test_again_keeps_since_when(self):
        since = closed().closed_at
        Gate.objects.update(closed_at=since - dt.timedelta(hours=1))

        Gate.load().close(GateReason.OUTAGE, 500)

        assert stored().closed_at == since - dt.timedelta(hours=1)

    def test_begins_with_the_first_cooldown_after_it_was_open(self):
        gate = closed()
        gate.close(GateReason.OUTAGE, 500)
        Gate.load().open()

        assert seconds_until(closed().closed_until) == pytest.approx(Gate.FIRST_COOLDOWN, abs=5)


@pytest.mark.django_db(transaction=True)
class OpenTests:
    def test_lets_sending_go_on(self):
        assert closed().open() is True

        gate = Gate.load()
        assert (gate.is_closed, gate.reason, gate.response_code, gate.cooldown) == (False, "", None, 0)
        assert (gate.closed_at, gate.closed_until) == (None, None)

    def test_happens_once(self):
        gate = closed()

        assert gate.open() is True
        assert gate.open() is False
        assert Gate.load().open() is False

    def test_does_not_undo_what_was_closed_meanwhile(self):
        seen = closed()
        seen.close(GateReason.ACCOUNT, 401)

        assert seen.open() is False
        assert Gate.load().is_closed


@pytest.mark.django_db(transaction=True)
class ProbeTests:
    def test_is_not_won_before_the_cooldown_is_over(self):
        gate = closed()

        assert gate.is_probe_due is False
        assert gate.win_probe() is False

    def test_is_won_by_one_process_only(self):
        closed()
        first, second = end_cooldown(), Gate.load()

        assert first.is_probe_due
        assert second.is_probe_due
        assert first.win_probe() is True
        assert second.win_probe() is False

    def test_keeps_the_gate_closed_for_another_cooldown(self):
        closed(seconds=0)
        gate = end_cooldown()

        assert gate.win_probe() is True

        assert Gate.load().is_closed
        assert not Gate.load().is_probe_due
        assert seconds_until(stored().closed_until) == pytest.approx(Gate.FIRST_COOLDOWN, abs=5)

    def test_is_not_won_where_the_gate_has_turned_meanwhile(self):
        closed()
        seen = end_cooldown()
        seen.close(GateReason.OUTAGE, 500)
        end_cooldown()

        assert seen.win_probe() is False


@pytest.mark.django_db(transaction=True)
class PauseTests:
    def test_holds_until_it_is_resumed(self):
        Gate.load().pause()

        assert Gate.load().is_paused
        assert str(Gate.load()) == "paused"
        assert not Gate.load().is_closed

        Gate.load().resume()

        assert not Gate.load().is_paused
        assert str(Gate.load()) == "open"

    def test_keeps_since_when(self):
        Gate.load().pause()
        since = stored().paused_at

        Gate.load().pause()

        assert stored().paused_at == since
        assert seconds_until(since) == pytest.approx(0, abs=5)

    def test_knows_by_whom_and_why_and_forgets_it_at_its_end(self):
        Gate.load().pause(by="root", reason="deploy 4.2")
        assert (Gate.load().paused_by, Gate.load().pause_reason, Gate.load().paused_until) == (
            "root",
            "deploy 4.2",
            None,
        )

        Gate.load().resume()

        assert (Gate.load().paused_by, Gate.load().pause_reason) == ("", "")

    @pytest.mark.parametrize("until", [dt.timedelta(minutes=15), dt.datetime(2126, 1, 1, tzinfo=dt.UTC)])
    def test_may_have_an_end_at_which_it_is_over_by_itself(self, until):
        Gate.load().pause(until=until)
        assert Gate.load().is_paused
        assert Gate.load().seconds_until_resumed > 800

        Gate.objects.update(paused_until=in_seconds(-0.01))

        assert not Gate.load().is_paused
        assert Gate.load().is_open
        assert Gate.load().seconds_until_resumed is None

    def test_that_lasts_can_be_given_another_end_and_keeps_since_when(self):
        Gate.load().pause(by="root", until=dt.timedelta(minutes=15))
        since = stored().paused_at

        Gate.load().pause(by="ada", reason="longer")

        assert (stored().paused_at, stored().paused_until, stored().paused_by) == (since, None, "ada")

    def test_after_one_that_is_over_begins_anew(self):
        Gate.load().pause(until=dt.timedelta(minutes=15))
        Gate.objects.update(paused_at=in_seconds(-1000), paused_until=in_seconds(-100))

        Gate.load().pause()

        assert seconds_until(stored().paused_at) == pytest.approx(0, abs=5)

    def test_is_over_for_the_claim_too_without_anybody_who_resumes(self, fake_brevo):
        track("viewed", "ada@example.com")
        Gate.load().pause(until=dt.timedelta(minutes=15))
        assert deliver() == {}
        Gate.objects.update(paused_until=in_seconds(-0.01))

        assert deliver() == {Status.SENT: 1}

    def test_that_begins_between_the_look_and_the_lease_holds_the_event(self, fake_brevo):
        track("viewed", "ada@example.com")

        assert delivery.claim(10, ready=lambda: Gate.load().pause(until=dt.timedelta(minutes=15))).attempts == []

        Gate.objects.update(paused_until=in_seconds(-0.01))
        assert len(delivery.claim(10).attempts) == 1

    def test_keeps_long_texts_as_far_as_there_is_room(self):
        Gate.load().pause(by="b" * 300, reason="é" * 300)

        assert (len(stored().paused_by), len(stored().pause_reason)) == (150, 200)

    def test_is_not_ended_by_an_answer(self):
        gate = closed()
        gate.pause()

        assert Gate.load().open() is True
        assert Gate.load().is_paused

    def test_is_not_undone_by_a_close_of_somebody_who_saw_it_before(self):
        seen = Gate.load()
        Gate.load().pause()

        assert seen.close(GateReason.OUTAGE, 500) is True
        assert Gate.load().is_paused

    def test_does_not_open_what_a_fault_has_closed(self):
        gate = closed()
        gate.pause()

        gate.resume()

        assert Gate.load().is_closed
        assert Gate.load().reason == GateReason.OUTAGE

    def test_that_never_was_can_be_resumed(self):
        Gate.load().resume()

        assert str(Gate.load()) == "open"

    def test_lets_nothing_out_and_then_everything(self, fake_brevo):
        track("viewed", "ada@example.com")
        Gate.load().pause()

        assert deliver() == {}
        assert fake_brevo.requests == []

        Gate.load().resume()

        assert deliver() == {Status.SENT: 1}


class MigrationsTests:
    @pytest.mark.django_db
    def test_hold_every_change_of_the_models(self):
        call_command("makemigrations", "--check", "--dry-run", verbosity=0)

    @pytest.mark.django_db
    def test_are_one(self):
        out = io.StringIO()
        call_command("showmigrations", "brevo_events", stdout=out)

        assert out.getvalue().split() == ["brevo_events", "[X]", "0001_initial"]

    @pytest.mark.django_db
    def test_ask_no_database_for_what_it_lacks(self):
        problems = checks.run_checks(databases=["default", "other"])

        assert [problem for problem in problems if problem.id.startswith(("models.", "fields.", "mysql."))] == []

    @pytest.mark.django_db(transaction=True)
    def test_run_back_and_forth_without_a_warning(self):
        err = io.StringIO()
        try:
            call_command("migrate", "brevo_events", "zero", verbosity=0)

            tables = connection.introspection.table_names()
            assert [name for name in tables if name.startswith("brevo_events")] == []
        finally:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                call_command("migrate", stdout=io.StringIO(), stderr=err, skip_checks=False)

        assert err.getvalue() == ""
        assert [str(warning.message) for warning in caught] == []
        track("viewed", "ada@example.com")
        assert OutboxEvent.objects.get().status == Status.SENT
