from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from brevo_events import track
from brevo_events.choices import GateReason
from brevo_events.columns import in_seconds
from brevo_events.models import Gate, OutboxEvent, Status
from brevo_events.testing import Reply
from brevo_events.transports import locmem
from tests.commands import run
from tests.conftest import KEY

pytestmark = pytest.mark.django_db(transaction=True)

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"


@pytest.fixture(autouse=True)
def _by_hand(settings):
    settings.BREVO_EVENTS = {"ENGINE": "worker"}


def due():
    return list(OutboxEvent.objects.filter(status=Status.PENDING).order_by("pk"))


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
