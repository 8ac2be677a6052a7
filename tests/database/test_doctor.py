"""The doctor on a fresh shop: everything right, then one thing at a time broken."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import trustme
from django.core.management import CommandError, call_command

from brevo_events import doctor, track
from brevo_events.choices import GateReason
from brevo_events.clock import in_seconds
from brevo_events.doctor import Outcome
from brevo_events.heartbeats import Heart
from brevo_events.models import Gate, Heartbeat, OutboxEvent, SendAttempt
from brevo_events.testing import FakeBrevo, Reply
from brevo_events.transports import Transport
from tests.commands import Terminal, run
from tests.conftest import KEY
from tests.doctoring import API_KEY, HERE, IN_BREVO, THERE, configure, paths
from tests.error_pages import error_page
from tests.tls import TlsFront

pytestmark = pytest.mark.django_db(transaction=True)

ADA = "ada@example.com"


def found(email=ADA, **options):
    """What the doctor finds, by check."""
    return {finding.check: finding for finding in doctor.examine(email, **options)}


def only_wrong(findings):
    """The one finding that is wrong; it must say what to do."""
    (wrong,) = [finding for finding in findings.values() if finding.is_wrong]
    assert wrong.advice
    return wrong


def checks_of(findings, outcome):
    return [finding.check for finding in findings.values() if finding.outcome == outcome]


def about(finding):
    return finding.check, f"{finding.detail} {finding.advice}"


class FreshShopTests:
    def test_all_is_good_but_what_no_api_shows(self, brevo):
        findings = found()

        assert list(findings) == HERE + THERE + IN_BREVO
        assert checks_of(findings, Outcome.GOOD) == HERE + THERE
        assert checks_of(findings, Outcome.UNSEEN) == IN_BREVO
        assert findings["account"].detail == "A Shop, owner@shop.example"

    def test_identifies_the_contact_and_sends_one_event_past_the_outbox(self, brevo):
        found()

        assert brevo.contacts.keys() == {ADA}
        assert [body.get("event") for body in brevo.events if body.get("email") == ADA] == [None, "doctor_test"]
        assert not OutboxEvent.objects.exists()
        assert not SendAttempt.objects.exists()

    def test_reads_with_a_key_and_no_body_and_knocks_without_a_key(self, brevo):
        found("Ada+Cart@example.com")

        knock, *_, contact = brevo.requests
        assert (knock.method, knock.body) == ("GET", b"")
        assert not {"ma-key", "api-key"} & set(knock.headers)
        assert (contact.method, contact.path) == ("GET", "/v3/contacts/Ada%2BCart%40example.com")
        assert (contact.headers["api-key"], contact.headers.get("ma-key")) == (API_KEY, None)
        assert all("api-key" not in request.headers for request in brevo.requests if request.path.startswith("/api/"))

    def test_without_an_address_nothing_is_sent(self, brevo):
        findings = found(None)

        assert {request.method for request in brevo.requests} == {"GET"}
        assert checks_of(findings, Outcome.UNSEEN) == ["identify", "event", "contact", *IN_BREVO]
        assert checks_of(findings, Outcome.WRONG) == []

    def test_without_calls_nothing_is_asked(self, brevo):
        findings = found(None, calls=False)

        assert brevo.requests == []
        assert list(findings) == HERE + THERE + IN_BREVO
        assert checks_of(findings, Outcome.UNSEEN) == THERE + IN_BREVO

    def test_without_an_api_key_it_says_where_to_look(self, brevo, settings):
        configure(settings, API_KEY=None)

        findings = found()

        assert checks_of(findings, Outcome.WRONG) == []
        unseen = ["account", "automation", "account_key", "contact"]
        assert checks_of(findings, Outcome.UNSEEN) == unseen + IN_BREVO
        assert all(findings[check].advice for check in unseen)
        assert not any(path.startswith("3") for path in paths(brevo))

    def test_a_worker_that_has_nothing_to_do_is_seen_by_its_report(self, brevo, settings):
        configure(settings, ENGINE="worker")
        Heart("worker").beat(0)

        engine = found()["engine"]

        assert engine.outcome == Outcome.GOOD
        assert engine.detail == "1 process that sends has reported within the last minute. No event is overdue."

    def test_cron_that_has_nothing_to_do_cannot_be_seen(self, brevo, settings):
        configure(settings, ENGINE="worker")

        engine = found()["engine"]

        assert engine.outcome == Outcome.UNSEEN
        assert "send_brevo_events --loop" in engine.advice

    def test_warnings_are_counted_and_nothing_wrong(self, brevo, settings):
        configure(settings, OVERRIDE_EMAIL="staging@example.org")

        settings_ = found()["settings"]

        assert settings_.outcome == Outcome.GOOD
        assert "1 warning: manage.py check" in settings_.detail

    def test_on_a_staging_site_it_tries_the_one_address(self, brevo, settings):
        configure(settings, OVERRIDE_EMAIL="staging@example.org")

        findings = found()

        assert {body["email"] for body in brevo.events if "email" in body} == {"staging@example.org"}
        assert findings["contact"].outcome == Outcome.GOOD

    def test_keys_may_be_callables(self, brevo, settings):
        configure(settings, MA_KEY=lambda: KEY, API_KEY=lambda: API_KEY)

        assert checks_of(found(), Outcome.GOOD) == HERE + THERE


class BrokenTests:
    """One thing at a time."""

    def test_a_key_of_api_v3_in_place_of_the_ma_key(self, brevo, settings):
        configure(settings, MA_KEY=API_KEY, API_KEY=None)

        check, told = about(only_wrong(found()))

        assert check == "key"
        assert "a key of Brevo's API v3" in told
        assert "the client_key" in told
        assert API_KEY not in [request.headers.get("ma-key") for request in brevo.requests]

    @pytest.mark.parametrize("key", ["", KEY + "\n", lambda: 1 / 0])
    def test_no_usable_key(self, brevo, settings, key):
        configure(settings, MA_KEY=key, API_KEY=None)

        assert only_wrong(found()).check == "key"

    def test_an_unknown_key(self, brevo, settings):
        configure(settings, MA_KEY="x" * 24, API_KEY=None)

        findings = found()

        check, told = about(only_wrong(findings))
        assert check == "identify"
        assert "401" in told
        assert "does not know the ma-key" in told
        assert findings["event"].outcome == Outcome.UNSEEN

    def test_the_key_of_another_account(self, brevo, settings):
        brevo.account_key = "x" * 24

        findings = found()

        assert about(only_wrong(findings))[0] == "account_key"
        assert findings["identify"].detail == "Not sent, because of another finding: Key of the account."
        assert not any(request.method == "POST" for request in brevo.requests)

    def test_automation_is_off(self, brevo):
        brevo.is_automation_on = False

        check, told = about(only_wrong(found()))

        assert check == "automation"
        assert "switched off" in told

    def test_the_contact_is_blocklisted(self, brevo):
        brevo.blocklisted.add(ADA)

        check, told = about(only_wrong(found()))

        assert check == "contact"
        assert "blocklisted" in told

    def test_the_contact_is_unknown(self, brevo):
        brevo.when(lambda body: "attributes" in body, Reply())  # accepted, and forgotten

        check, told = about(only_wrong(found()))

        assert check == "contact"
        assert "does not know the contact" in told
        assert "in a minute" in told

    def test_no_engine_is_running(self, brevo, settings):
        configure(settings, ENGINE="worker")
        track("a", ADA)
        OutboxEvent.objects.update(due_at=in_seconds(-300), available_at=in_seconds(-300))

        check, told = about(only_wrong(found()))

        assert check == "engine"
        assert "Nothing is sending" in told
        assert "send_brevo_events --loop" in told

    @pytest.mark.parametrize("engine", [5, "no.Engine"])
    def test_an_engine_that_cannot_be_named_while_an_event_is_overdue(self, brevo, settings, engine):
        configure(settings, ENGINE="worker")
        track("a", ADA)
        OutboxEvent.objects.update(due_at=in_seconds(-300), available_at=in_seconds(-300))
        configure(settings, ENGINE=engine)

        findings = found()

        assert f"'ENGINE'] is {engine!r}" in findings["settings"].detail
        assert findings["engine"].outcome == Outcome.WRONG

    @pytest.mark.parametrize(
        ("engine", "loop", "minutes", "outcome"),
        [
            ("worker", "worker", 5, Outcome.WRONG),
            ("worker", "worker", 70, Outcome.UNSEEN),  # too long ago to say anything
            ("worker", "single pass", 5, Outcome.UNSEEN),
            ("celery", "worker", 5, Outcome.UNSEEN),
        ],
    )
    def test_a_worker_was_killed_though_nothing_is_due(self, brevo, settings, engine, loop, minutes, outcome):
        configure(settings, ENGINE=engine)
        Heartbeat.objects.create(host="web-1", pid=4127, engine=loop, seen_at=in_seconds(-60 * minutes))

        finding = found()["engine"]

        assert finding.outcome == outcome
        if outcome == Outcome.WRONG:
            assert finding.detail == "The worker 4127 on web-1 last reported 5 min ago, and did not end cleanly."
            assert finding.advice == "Start send_brevo_events --loop again."

    def test_a_worker_that_hangs_says_when_it_last_reported(self, brevo, settings):
        configure(settings, ENGINE="worker")
        track("a", ADA)
        OutboxEvent.objects.update(due_at=in_seconds(-300), available_at=in_seconds(-300))
        Heartbeat.objects.create(host="web-1", pid=4127, engine="worker", seen_at=in_seconds(-200))

        check, told = about(only_wrong(found()))

        assert check == "engine"
        assert "A worker last reported at " in told

    @pytest.mark.parametrize("is_alive", [True, False])
    def test_an_engine_is_seen_while_delivery_is_paused(self, brevo, settings, is_alive):
        configure(settings, ENGINE="worker")
        Gate.load().pause()
        if is_alive:
            Heart("worker").beat(0)

        findings = found()

        assert only_wrong(findings).check == "gate"
        assert findings["engine"].outcome == (Outcome.GOOD if is_alive else Outcome.UNSEEN)

    def test_the_gate_is_paused(self, brevo, settings):
        configure(settings, ENGINE="worker")
        Gate.load().pause()
        track("a", ADA)
        OutboxEvent.objects.update(due_at=in_seconds(-300), available_at=in_seconds(-300))

        check, told = about(only_wrong(found()))

        assert check == "gate"
        assert "Resume" in told

    def test_a_fault_has_closed_the_gate(self, brevo):
        Gate.load().close(GateReason.ACCOUNT, 401)

        check, told = about(only_wrong(found()))

        assert check == "gate"
        assert "Brevo does not accept the key (401)" in told

    @pytest.mark.parametrize(("path", "where"), [("/api/v2/events", "event"), ("/trackEvent", "identify")])
    def test_the_wrong_url(self, brevo, settings, path, where):
        configure(settings, URL=brevo.url.replace("/api/v2/trackEvent", path))

        check, told = about(only_wrong(found()))

        assert check == where
        assert "404" in told
        assert "Check the setting URL" in told

    def test_a_url_that_is_none(self, brevo, settings):
        configure(settings, URL="http://example.com/trackEvent")

        check, told = about(only_wrong(found()))

        assert check == "settings"
        assert "must begin with https://" in told

    def test_no_dns(self, brevo, settings, monkeypatch):
        real = socket.getaddrinfo

        def fail(host, *args, **kwargs):
            if host == "localhost":
                raise socket.gaierror(-2, "Name or service not known")
            return real(host, *args, **kwargs)  # PyMySQL asks it for the database's host

        monkeypatch.setattr(socket, "getaddrinfo", fail)
        configure(settings, URL=brevo.url.replace("127.0.0.1", "localhost"))

        check, told = about(only_wrong(found()))

        assert check == "connection"
        assert "The host name was not found" in told

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_an_expired_certificate(self, brevo, settings, monkeypatch, tmp_path):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        expired = authority.issue_cert("localhost", not_after=datetime.now(UTC) - timedelta(days=1))

        with TlsFront(expired, brevo) as front:
            configure(settings, URL=front.url)
            check, told = about(only_wrong(found()))

        assert check == "connection"
        assert "certificate has expired" in told
        assert "Check the certificates" in told

    def test_a_good_certificate(self, brevo, settings, monkeypatch, tmp_path):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))

        with TlsFront(authority.issue_cert("localhost"), brevo) as front:
            configure(settings, URL=front.url)
            findings = found()

        assert checks_of(findings, Outcome.GOOD) == HERE + THERE

    @pytest.mark.parametrize(("hours", "where"), [(2, "behind"), (-2, "ahead")])
    def test_a_clock_two_hours_off(self, brevo, hours, where):
        theirs = datetime.now(UTC) + timedelta(hours=hours)
        brevo.next(Reply(405, {"date": format_datetime(theirs, usegmt=True)}))

        check, told = about(only_wrong(found()))

        assert check == "clock"
        assert f"hours {where}" in told.replace("\xa0", " ").replace("1 hour, 59 minutes", "hours")
        assert "NTP" in told

    @pytest.mark.parametrize("date", ["yesterday", ""])
    def test_a_host_that_does_not_tell_the_time(self, brevo, date):
        brevo.next(Reply(405, {"date": date} if date else {}))

        assert found()["clock"].outcome == Outcome.UNSEEN

    def test_missing_migrations(self, brevo):
        call_command("migrate", "brevo_events", "zero", verbosity=0)
        try:
            findings = found()
        finally:
            call_command("migrate", "brevo_events", verbosity=0)

        check, told = about(only_wrong(findings))
        assert check == "migrations"
        assert "manage.py migrate" in told
        assert [findings[check].outcome for check in ("engine", "gate")] == [Outcome.UNSEEN] * 2

    @pytest.mark.parametrize(
        ("more", "told"), [({"ENABLED": False}, "nothing is captured"), ({"TRANSPORT": "console"}, "nothing is sent")]
    )
    def test_a_setting_that_keeps_everything_back(self, brevo, settings, more, told):
        configure(settings, **more)

        assert told in only_wrong(found()).detail

    def test_an_unknown_setting(self, brevo, settings):
        configure(settings, TIMEOUTS=1)

        check, told = about(only_wrong(found()))

        assert check == "settings"
        assert "Did you mean 'TIMEOUT'?" in told

    def test_an_unknown_api_key(self, brevo, settings):
        configure(settings, API_KEY="xkeysib-unknown")

        wrong = [finding for finding in found().values() if finding.is_wrong]

        assert [finding.check for finding in wrong] == ["account", "contact"]
        assert "some IP addresses only" in wrong[0].advice

    @pytest.mark.parametrize(
        ("reply", "shown"),
        [
            (Reply.error(429, "too_many_requests", "Slow down"), "429: too_many_requests: Slow down"),
            (Reply.reset(), "connection"),
            (Reply(200, body=b"<html>" + KEY.encode()), "(200)"),
            (Reply(200, body=b"[]"), "(200)"),
        ],
        ids=["429", "reset", "html", "list"],
    )
    def test_an_account_that_cannot_be_read_is_no_fault_of_the_shop(self, brevo, reply, shown):
        brevo.next(Reply(405), reply, *([reply] if reply.mode == "reset" else []))

        findings = found(None)

        assert checks_of(findings, Outcome.WRONG) == []
        assert shown in findings["account"].detail
        assert findings["automation"].outcome == Outcome.UNSEEN

    @pytest.mark.parametrize("content", [{}, {"marketingAutomation": None}, {"marketingAutomation": {"key": 1}}])
    def test_an_account_that_does_not_say(self, brevo, content):
        brevo.next(Reply(405), Reply.of(content))

        findings = found(None)

        assert [findings[check].outcome.value for check in THERE[4:7]] == ["good", "unseen", "unseen"]

    @pytest.mark.parametrize(
        ("reply", "told"),
        [
            (Reply.error(400, "invalid_parameter", "Bad email"), "invalid_parameter: Bad email"),
            (Reply.error(500, "oops"), "an internal error"),
            (Reply.redirect("http://127.0.0.1:1/"), "redirects elsewhere"),
            (Reply.hang(3), "did not answer in time"),
        ],
        ids=["400", "500", "redirect", "hang"],
    )
    def test_an_event_that_is_not_accepted(self, brevo, reply, told):
        brevo.when(lambda body: body.get("event") == "doctor_test", reply, repeat=True)

        check, sentence = about(only_wrong(found()))

        assert check == "event"
        assert told in sentence

    def test_a_projects_own_transport_that_fails(self, brevo, settings):
        configure(settings, TRANSPORT="tests.database.test_doctor.FailingTransport")

        findings = found()

        assert only_wrong(findings).check == "identify"
        assert KEY not in repr(findings)
        assert findings["connection"].outcome == Outcome.UNSEEN


class FailingTransport(Transport):
    def send(self, body, call):
        raise ValueError(KEY)


class CommandTests:
    def test_prints_a_line_for_each_check_and_what_to_do(self, brevo):
        told = run("brevo_events_doctor", ADA, interactive=False)

        lines = [line for line in told.splitlines() if not line.startswith(" ")]
        assert len(lines) == len(HERE + THERE + IN_BREVO)
        assert [line.split()[0] for line in lines] == ["Good"] * 13 + ["Not"] * 4
        assert "204 after " in told
        assert "Brevo accepted the event." in told

    def test_exits_with_1_if_something_is_wrong(self, brevo, settings):
        configure(settings, MA_KEY="")
        out, err = io.StringIO(), io.StringIO()

        with pytest.raises(SystemExit) as stopped:
            call_command("brevo_events_doctor", stdout=out, stderr=err, no_color=True)

        assert stopped.value.code == 1
        assert "Wrong     ma-key" in out.getvalue()
        assert err.getvalue() == "1 thing is wrong.\n"

    def test_prints_json_for_programs(self, brevo):
        told = json.loads(run("brevo_events_doctor", format="json"))

        assert told["is_well"] is True
        assert [finding["check"] for finding in told["findings"]] == HERE + THERE + IN_BREVO
        assert told["findings"][0] == {
            "check": "settings",
            "title": "Settings",
            "outcome": "good",
            "detail": "Transport http, engine thread.",
            "advice": "",
            "link": "",
        }

    def test_asks_before_it_sends(self, brevo, settings, monkeypatch):
        configure(settings, OVERRIDE_EMAIL="staging@example.org")
        asked = []
        monkeypatch.setattr(sys, "stdin", Terminal())
        monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "n")

        with pytest.raises(CommandError, match="Nothing was sent"):
            run("brevo_events_doctor", ADA)

        assert brevo.requests == []
        assert "doctor_test for staging@example.org" in asked[0]

    def test_goes_on_after_a_yes(self, brevo, monkeypatch):
        monkeypatch.setattr(sys, "stdin", Terminal())
        monkeypatch.setattr("builtins.input", lambda question: "y")

        assert "Brevo accepted the event." in run("brevo_events_doctor", ADA)

    def test_sends_nothing_if_nobody_can_be_asked(self, brevo, monkeypatch):
        monkeypatch.setattr(sys, "stdin", io.StringIO())

        with pytest.raises(CommandError, match="--no-input"):
            run("brevo_events_doctor", ADA)

        assert brevo.requests == []

    @pytest.mark.parametrize("email", ["ada", "a@b@c", " "])
    def test_refuses_what_is_no_address(self, brevo, email):
        with pytest.raises(CommandError, match="not an e-mail address"):
            run("brevo_events_doctor", email, interactive=False)

    def test_an_answer_cannot_steer_the_terminal(self, brevo):
        brevo.next(Reply(405), Reply.of({"companyName": "\x1b]0;owned\x07 \x9b2J"}))

        told = run("brevo_events_doctor")

        assert r"\x1b]0;owned\x07 \x9b2J" in told
        assert all(line.isprintable() for line in told.split("\n"))


SECRETS = (KEY, API_KEY, API_KEY.removeprefix("xkeysib-"))


class SecrecyTests:
    @pytest.mark.parametrize(
        "reply",
        [
            lambda key: Reply.error(401, "unauthorized", f"bad key {key}"),
            lambda key: Reply(403, body=key.encode()),
            lambda key: Reply(200, body=f'{{"email": "{KEY}'.encode()),
            lambda key: Reply.raw(f"HTTP/1.1 {key}\r\n\r\n".encode()),
            lambda key: Reply.redirect(f"http://127.0.0.1:1/{key}"),
        ],
        ids=["401", "403", "cut", "status line", "redirect"],
    )
    def test_no_key_is_printed_or_logged(self, brevo, monkeypatch, caplog, capfd, reply):
        caplog.set_level(logging.DEBUG)
        keys_of = lambda request: request.headers.get("ma-key") or request.headers.get("api-key", "")  # noqa: E731
        monkeypatch.setattr(FakeBrevo, "_usual", lambda self, request: reply(keys_of(request)))

        with suppress(SystemExit):
            run("brevo_events_doctor", ADA, interactive=False)
        shown = repr(found()) + caplog.text + "".join(capfd.readouterr())

        assert len(brevo.requests) > 4
        assert not any(secret in shown for secret in SECRETS)

    @pytest.mark.parametrize("asks", [lambda path: path.startswith("/v3"), lambda path: path.startswith("/api")])
    def test_no_key_is_in_a_frame_when_ctrl_c_ends_it(self, brevo, request, asks, monkeypatch):
        usual = FakeBrevo._usual
        monkeypatch.setattr(
            FakeBrevo, "_usual", lambda self, got: Reply.hang(2) if asks(got.path) else usual(self, got)
        )
        former = signal.signal(signal.SIGINT, signal.default_int_handler)
        request.addfinalizer(lambda: signal.signal(signal.SIGINT, former))
        threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT)).start()

        with pytest.raises(KeyboardInterrupt) as caught:
            list(doctor.examine(ADA))

        page = error_page(caught)
        assert not any(secret in page for secret in SECRETS)

    def test_no_redirect_is_followed(self, brevo):
        with FakeBrevo() as other:
            brevo.always(Reply.redirect(other.url))
            found()

            assert other.requests == []

    def test_a_slow_answer_is_cut_off(self, brevo, monkeypatch):
        monkeypatch.setattr("brevo_events.transports.reading.DEADLINE", 0.3)
        brevo.always(Reply.drip(0.05, in_body=True))

        began = datetime.now(UTC)
        findings = found(None)

        assert datetime.now(UTC) - began < timedelta(seconds=5)
        assert findings["account"].outcome == Outcome.UNSEEN

    def test_under_test_no_real_host_is_asked(self, settings):
        settings.BREVO_EVENTS = {"MA_KEY": KEY, "API_KEY": API_KEY, "TRANSPORT": "http", "ENGINE": "thread"}

        findings = found()

        assert checks_of(findings, Outcome.WRONG) == []
        assert "loopback only" in findings["connection"].detail
        assert "loopback only" in findings["account"].detail
