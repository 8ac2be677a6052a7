from __future__ import annotations

import datetime as dt
import io
import sys

import pytest
from django.core.management import CommandError, call_command

from brevo_events import track
from brevo_events.choices import GateReason
from brevo_events.columns import in_seconds
from brevo_events.delivery import deliver
from brevo_events.models import Gate, OutboxEvent, SendAttempt, Status
from brevo_events.testing import Reply
from brevo_events.transports import locmem
from tests.conftest import KEY

pytestmark = pytest.mark.django_db(transaction=True)

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"


@pytest.fixture(autouse=True)
def _by_hand(settings):
    settings.BREVO_EVENTS = {"ENGINE": "worker"}


def run(*command, **options):
    """Run a command; return what it prints, and its errors below."""
    out, err = io.StringIO(), io.StringIO()
    call_command(*command, stdout=out, stderr=err, no_color=True, **options)
    return out.getvalue() + err.getvalue()


def ended(email, status, name="viewed", **more):
    """Capture an event that has ended with this status."""
    event = track(name, email)
    OutboxEvent.objects.filter(pk=event.pk).update(
        **{"status": status, "due_at": None, "attempts": 3, "finished_at": event.created_at, **more}
    )
    return event


def due():
    return list(OutboxEvent.objects.filter(status=Status.PENDING).order_by("pk"))


def dump():
    return list(OutboxEvent.objects.order_by("pk").values())


class SendTests:
    def test_sends_what_is_due_and_counts_it(self):
        track("viewed", ADA)
        track("viewed", BOB)

        assert run("send_brevo_events") == "Sent: 2\n"
        assert [body["email"] for body in locmem.sent] == [ADA, BOB]

    def test_says_and_exits_as_usual_when_nothing_was_due(self):
        assert run("send_brevo_events") == "Nothing was due.\n"

    def test_is_silent_where_that_is_asked(self):
        track("viewed", ADA)

        assert run("send_brevo_events", verbosity=0) == ""
        assert len(locmem.sent) == 1

    def test_sends_no_more_than_the_limit(self):
        for email in (ADA, BOB, EVE):
            track("viewed", email)

        assert run("send_brevo_events", "--limit", "2") == "Sent: 2\n"
        assert [event.email for event in due()] == [EVE]

    def test_exits_as_usual_when_brevo_refused_an_event(self, fake_brevo):
        fake_brevo.next(Reply.error(400, "invalid_parameter"))
        track("viewed", ADA)
        track("viewed", BOB)

        assert run("send_brevo_events") == "Failed: 1, Sent: 1\n"

    @pytest.mark.parametrize(
        ("reply", "told"),
        [
            (Reply.error(401, "unauthorized"), "Wrong key or URL (response code 401)"),
            (Reply.too_many(retry_after=100), "Too many requests (response code 429)"),
        ],
    )
    def test_exits_with_1_if_a_fault_has_closed_the_gate(self, fake_brevo, capsys, reply, told):
        fake_brevo.always(reply)
        track("viewed", ADA)
        err = io.StringIO()

        with pytest.raises(SystemExit) as stopped:
            call_command("send_brevo_events", stdout=io.StringIO(), stderr=err, no_color=True)

        assert stopped.value.code == 1
        assert f"Sending is held back: {told}. Next probe: 2" in err.getvalue()
        assert len(due()) == 1

    def test_exits_with_1_as_long_as_the_gate_is_closed(self):
        Gate.load().close(GateReason.OUTAGE, 503)

        with pytest.raises(SystemExit) as stopped:
            run("send_brevo_events")

        assert stopped.value.code == 1

    def test_exits_as_usual_once_a_probe_has_opened_the_gate(self):
        track("viewed", ADA)
        Gate.load().close(GateReason.OUTAGE, 503)
        Gate.objects.update(closed_until=in_seconds(-1))

        assert run("send_brevo_events") == "Sent: 1\n"

    def test_exits_as_usual_if_an_operator_has_paused(self):
        track("viewed", ADA)
        Gate.load().pause()

        assert "Nothing was due." in run("send_brevo_events")
        assert len(due()) == 1

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ({"TRANSPORT": "http", "URL": "http://127.0.0.1:1/", "MA_KEY": ""}, "'MA_KEY'] is not set"),
            ({"TRANSPORT": "htpp"}, "'TRANSPORT'] is 'htpp'"),
            ({"TRANSPORT": "http", "MA_KEY": KEY}, "Under test the http transport calls loopback only"),
        ],
    )
    def test_tells_what_is_missing_and_claims_nothing(self, settings, setting, message):
        track("viewed", ADA)
        settings.BREVO_EVENTS = {"ENGINE": "worker", **setting}

        with pytest.raises(CommandError) as raised:
            run("send_brevo_events")

        assert message in str(raised.value)
        assert len(due()) == 1

    @pytest.mark.parametrize("limit", ["0", "-1", "many", "1.5", "", "9" * 30])
    def test_refuses_a_limit_that_is_no_number(self, limit):
        with pytest.raises(CommandError, match=r"--limit: .* is not a whole number of at least 1"):
            run("send_brevo_events", f"--limit={limit}")


class ResendTests:
    def test_makes_failed_events_due_again_from_zero_attempts(self):
        event = ended(ADA, Status.FAILED, reason="gave_up")

        assert run("resend_brevo_events", "--status", "failed") == "Due again: 1.\n"

        row = OutboxEvent.objects.get(pk=event.pk)
        assert (row.status, row.reason, row.attempts, row.finished_at) == (Status.PENDING, "", 0, None)
        assert deliver() == {Status.SENT: 1}

    def test_keeps_what_was_tried(self, fake_brevo):
        fake_brevo.next(Reply.error(400, "invalid_parameter"))
        track("viewed", ADA)
        deliver()

        run("resend_brevo_events", "--response-code", "400")
        deliver()

        assert list(SendAttempt.objects.order_by("pk").values_list("response_code", flat=True)) == [400, 204]

    def test_has_the_engine_deliver_at_once(self, settings):
        ended(ADA, Status.FAILED)
        settings.BREVO_EVENTS = {"ENGINE": "inline"}

        run("resend_brevo_events", "--email", ADA)

        assert len(locmem.sent) == 1

    @pytest.mark.parametrize("options", [[], ["--limit", "5"], ["--include-sent"], ["--dry-run"], ["--no-input"]])
    def test_refuses_without_a_filter(self, options):
        ended(ADA, Status.FAILED)

        with pytest.raises(CommandError, match="Say which events"):
            run("resend_brevo_events", *options)

        assert due() == []

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (["--status", "failed"], [ADA, BOB]),
            (["--status", "cancelled"], [EVE]),
            (["--event", "bought"], [BOB]),
            (["--event", "Bought"], []),
            (["--email", "ADA@Example.com"], [ADA]),
            (["--email", "ada@"], []),
            (["--response-code", "400"], [ADA]),
            (["--since", "2026-03-02"], [BOB, EVE]),
            (["--until", "2026-03-02"], [ADA]),
            (["--since", "2026-03-02", "--until", "2026-03-03"], [BOB]),
            (["--since", "2026-03-02T12:00:00"], [BOB, EVE]),
            (["--since", "2026-03-02T12:00:01"], [EVE]),
            (["--until", "2026-03-02T11:00:00Z"], [ADA]),
            (["--until", "2026-03-02T11:00:01+00:00"], [ADA, BOB]),
            (["--since", "0001-01-02"], [ADA, BOB, EVE]),
            (["--status", "failed", "--limit", "1"], [ADA]),
            (["--status", "failed", "--event", "bought"], [BOB]),
            (["--status", "failed", "--email", EVE], []),
        ],
        ids=" ".join,
    )
    def test_takes_what_every_filter_chooses(self, options, expected):
        noons = [dt.datetime(2026, 3, day, 11, tzinfo=dt.UTC) for day in (1, 2, 3)]  # 12:00 in Paris
        ended(ADA, Status.FAILED, created_at=noons[0], response_code=400)
        ended(BOB, Status.FAILED, created_at=noons[1], name="bought", response_code=503)
        ended(EVE, Status.CANCELLED, created_at=noons[2])

        run("resend_brevo_events", *options)

        assert [event.email for event in due()] == expected

    def test_takes_the_events_of_these_numbers(self):
        events = [ended(email, Status.FAILED) for email in (ADA, BOB, EVE)]

        run("resend_brevo_events", str(events[0].pk), str(events[2].pk), str(events[2].pk + 1000))

        assert due() == [events[0], events[2]]

    def test_skips_what_is_sent_unless_it_is_asked_for(self):
        event = ended(ADA, Status.SENT)

        assert run("resend_brevo_events", "--email", ADA) == "Skipped: 1 (already sent).\nNothing to resend.\n"
        assert due() == []

        run("resend_brevo_events", "--email", ADA, "--include-sent")

        assert due() == [event]

    def test_skips_what_is_outdated_unless_it_is_asked_for(self):
        stale, newer = (track("cart_updated", ADA, object_id="cart:1") for _ in range(2))
        OutboxEvent.objects.update(status=Status.FAILED, due_at=None)

        told = run("resend_brevo_events", str(stale.pk))

        assert told == "Skipped: 1 (a newer event of the same contact and object exists).\nNothing to resend.\n"
        assert due() == []

        run("resend_brevo_events", str(stale.pk), "--include-outdated")

        assert due() == [stale]

    def test_skips_what_is_still_waiting(self):
        track("viewed", ADA)
        before = dump()

        assert "Skipped: 1 (still waiting or being sent)." in run("resend_brevo_events", "--email", ADA)
        assert dump() == before

    @pytest.mark.parametrize("engine", ["worker", "inline"])
    def test_dry_run_says_what_would_happen_and_changes_nothing(self, settings, engine):
        ended(ADA, Status.FAILED)
        ended(BOB, Status.SENT)
        settings.BREVO_EVENTS = {"ENGINE": engine}
        before = dump()

        told = run("resend_brevo_events", "--event", "viewed", "--dry-run")

        assert told == "Skipped: 1 (already sent).\nWould be resent: 1.\n"
        assert dump() == before
        assert locmem.sent == []

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--since", "yesterday"], "--since: 'yesterday' is not a date like 2026-11-23"),
            (["--since", ""], "--since: '' is not a date like"),
            (["--until", "2026-02-30"], "--until: '2026-02-30' is no date that exists"),
            (["--until", "2026-02-01T25:00"], "--until: '2026-02-01T25:00' is no date that exists"),
            (["--since", "0001-01-01"], "--since: '0001-01-01' is too far away"),
            (["--until", "9999-12-31T23:59:59-12:00"], "is too far away"),
            (["--status", "lost"], "--status: invalid choice: 'lost'"),
            (["--response-code", "4xx"], "--response-code: '4xx' is not a whole number of at least 1"),
            (["--response-code", "0"], "--response-code: '0' is not"),
            (["--status", "failed", "--limit", "0"], "--limit: '0' is not"),
            (["--status", "failed", "--limit", "9" * 20], "is not a whole number"),
            (["abc"], "argument pk: 'abc' is not a whole number"),
            (["-5"], "-5"),
            (["9223372036854775808"], "that a database can hold"),
            (["9" * 5000], "that a database can hold"),
            (["--status", "failed", "--email", ""], "--email: '' is empty"),
            (["--status", "failed", "--email", " "], "--email: ' ' is empty"),
            (["--status", "failed", "--event", ""], "--event: '' is empty"),
            (["--event", "a\0"], "--event: 'a\\x00' is empty, or has a character that no event can have"),
        ],
        ids=lambda value: " ".join(value)[:40].replace("\0", "NUL") if isinstance(value, list) else "",
    )
    def test_tells_clearly_what_is_wrong(self, options, message):
        ended(ADA, Status.FAILED)

        with pytest.raises(CommandError) as raised:
            run("resend_brevo_events", *options)

        assert message in str(raised.value)
        assert due() == []

    @pytest.mark.parametrize("number", ["9223372036854775807", "99999"])
    def test_finds_nothing_by_a_number_that_does_not_exist(self, number):
        assert run("resend_brevo_events", number) == "Nothing to resend.\n"
        assert run("resend_brevo_events", "--response-code", number) == "Nothing to resend.\n"

    def test_prints_no_address(self):
        ended(ADA, Status.FAILED)

        assert "ada" not in run("resend_brevo_events", "--email", ADA)


class ConfirmationTests:
    @pytest.fixture(autouse=True)
    def _terminal(self, monkeypatch):
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        self.asked = []
        self.answer = ""
        monkeypatch.setattr("builtins.input", lambda question: self.asked.append(question) or self.answer)
        ended(ADA, Status.FAILED)
        ended(BOB, Status.FAILED)

    @pytest.mark.parametrize("answer", ["", "n", "no", "x"])
    def test_is_asked_for_on_a_terminal(self, answer):
        self.answer = answer

        with pytest.raises(CommandError, match=r"Nothing was resent\."):
            run("resend_brevo_events", "--status", "failed")

        assert self.asked == ["Resend 2 events? [y/N] "]
        assert due() == []

    @pytest.mark.parametrize("answer", ["y", "Y", "yes", " yes "])
    def test_lets_it_go_on(self, answer):
        self.answer = answer

        run("resend_brevo_events", "--status", "failed")

        assert len(due()) == 2

    @pytest.mark.parametrize("options", [["--no-input"], ["--dry-run"]])
    def test_is_not_asked_for(self, options):
        run("resend_brevo_events", "--status", "failed", *options)

        assert self.asked == []


class SendTestTests:
    def test_sends_one_event_past_the_outbox_and_says_what_the_answer_means(self, fake_brevo):
        told = run("send_test_brevo_event", ADA)

        assert [body["event"] for body in fake_brevo.events] == ["brevo_events_test"]
        assert '"email":"ada@example.com"' in told
        assert "204" in told
        assert "Brevo has taken the event." in told
        assert not OutboxEvent.objects.exists()

    def test_takes_a_name(self, fake_brevo):
        run("send_test_brevo_event", ADA, "--event", "Order Completed")

        assert fake_brevo.events == [{"email": ADA, "event": "Order Completed"}]

    @pytest.mark.parametrize(
        ("reply", "shown", "meaning"),
        [
            (Reply.error(401, "unauthorized", "Key not found"), "Key not found", "does not know the ma-key"),
            (Reply.error(400, "invalid_parameter", "Bad email"), "Bad email", "Brevo refused the event"),
            (Reply.error(500, "oops"), "500", "a problem of its own"),
            (Reply.redirect("http://127.0.0.1:1/"), "302", "points elsewhere"),
            (Reply.reset(), "connection", "could not be reached"),
        ],
        ids=["401", "400", "500", "redirect", "reset"],
    )
    def test_prints_the_answer_and_fails_with_what_it_means(self, fake_brevo, reply, shown, meaning):
        fake_brevo.next(reply)
        out = io.StringIO()

        with pytest.raises(CommandError, match=meaning) as raised:
            call_command("send_test_brevo_event", ADA, stdout=out)

        assert raised.value.returncode != 0
        assert shown in out.getvalue()
        assert KEY not in out.getvalue() + str(raised.value)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["ada"], "not an e-mail address"),
            ([ADA, "--event", ""], "name must not be empty"),
            ([], "required: EMAIL"),
        ],
    )
    def test_tells_what_is_wrong_with_the_event(self, fake_brevo, arguments, message):
        with pytest.raises(CommandError, match=message):
            run("send_test_brevo_event", *arguments)

        assert fake_brevo.requests == []

    def test_goes_to_the_one_address_of_staging_and_says_so(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "OVERRIDE_EMAIL": "staging@example.org"}

        told = run("send_test_brevo_event", ADA)

        assert fake_brevo.events == [{"email": "staging@example.org", "event": "brevo_events_test"}]
        assert '"email":"staging@example.org"' in told
        assert ADA not in told

    def test_tells_that_the_key_is_missing(self, settings):
        settings.BREVO_EVENTS = {"TRANSPORT": "http", "URL": "http://127.0.0.1:1/", "MA_KEY": ""}

        with pytest.raises(CommandError, match=r"'MA_KEY'. is not set"):
            run("send_test_brevo_event", ADA)
