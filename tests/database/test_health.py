from __future__ import annotations

import datetime as dt
import io
import json
import re

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone

from brevo_events import Event
from brevo_events.clock import in_seconds
from brevo_events.connections import migrate_command
from brevo_events.health import setting_fault, state, take_pulse
from brevo_events.models import Gate, GateReason, OutboxEvent, SendAttempt
from tests.browsing import LIST, page_of, root, text_of
from tests.commands import run
from tests.conftest import KEY

pytestmark = pytest.mark.django_db

ADA, BOB = "ada@example.com", "bob@example.com"
HTTP = {"TRANSPORT": "http", "URL": "http://127.0.0.1:1/"}
NO_KEY = "Nothing can be sent: BREVO_EVENTS['MA_KEY'] is not set."


@pytest.fixture(autouse=True)
def _by_hand(settings, monkeypatch):
    for name in ("BREVO_MA_KEY", "BREVO_EVENTS_MA_KEY"):
        monkeypatch.delenv(name, raising=False)
    settings.BREVO_EVENTS = {"ENGINE": "worker"}
    cache.clear()


@pytest.fixture
def without_key(settings):
    settings.BREVO_EVENTS = {**HTTP, "ENGINE": "thread"}


def captured(due_for=0.0, email=ADA):
    """Write an event into the outbox that has been due for so many seconds; no engine is told."""
    event = OutboxEvent.of(Event("viewed", email))
    event.due_at = in_seconds(-due_for)
    OutboxEvent.objects.insert(event)
    return OutboxEvent.objects.get(pk=event.pk)


def requested(event, ago=0.0):
    started_at = timezone.now() - dt.timedelta(seconds=ago)
    return SendAttempt.objects.create(event=event, started_at=started_at, duration_ms=1, response_code=204)


def closed(reason=GateReason.ACCOUNT, code=401, seconds=60.0):
    Gate.load().close(reason, code, seconds)


def state_now():
    return state(take_pulse())


def status(*arguments):
    """Return the exit code of the status command, and what it prints."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    try:
        call_command("brevo_events_status", *arguments, stdout=out, stderr=err, no_color=True)
    except SystemExit as ended:
        code = ended.code
    return code, out.getvalue(), err.getvalue()


class StateTests:
    def test_is_printed_in_characters_that_every_terminal_has(self):
        assert status()[1].isascii()

    def test_is_sending_while_all_is_well(self):
        captured()

        assert (state_now().name, state_now().level, state_now().advice) == ("sending", "success", "")
        assert state_now().is_well
        assert not state_now().is_faulty

    @pytest.mark.parametrize("engine", ["thread", "inline"])
    def test_is_misconfigured_without_a_key_at_once_if_this_process_sends(self, settings, engine):
        settings.BREVO_EVENTS = {**HTTP, "ENGINE": engine}

        found = state_now()

        assert (found.name, found.level, found.title) == ("misconfigured", "error", NO_KEY)
        assert "Events are kept" in found.advice
        assert "client_key" in found.advice
        assert found.is_faulty

    def test_is_misconfigured_without_a_key_if_a_worker_sends_and_does_not(self, settings):
        settings.BREVO_EVENTS = {**HTTP, "ENGINE": "worker"}
        assert state_now().is_well

        event = captured(due_for=5)
        assert state_now().title == NO_KEY
        requested(event, ago=10)

        # Its process may have the key.
        assert state_now().is_well

    def test_does_not_ask_for_a_callable_key(self, settings):
        settings.BREVO_EVENTS = {**HTTP, "ENGINE": "thread", "MA_KEY": lambda: pytest.fail("asked")}

        assert state_now().is_well

    @pytest.mark.parametrize(
        ("given", "named"),
        [
            ({"TRANSPORT": "htpp"}, "'TRANSPORT'] is 'htpp'"),
            ({"TIMEOUT": "soon"}, "'TIMEOUT'] is 'soon'"),
            ({"CONSENT": "no.where"}, "'CONSENT'] is 'no.where'"),
            ({"CONCURRENCY": 0}, "'CONCURRENCY'] is 0"),
            ({"ENGINE": 5}, "'ENGINE'] is 5"),
            ({**HTTP, "URL": "http://example.com/"}, "'URL'] is 'http://example.com/'"),
            ({**HTTP, "MA_KEY": f"{KEY}\n"}, "'MA_KEY'] has a character"),
        ],
    )
    def test_names_the_setting_that_keeps_events_from_being_sent(self, settings, given, named):
        settings.BREVO_EVENTS = {"ENGINE": "thread", **given}

        assert state_now().name == "misconfigured"
        assert named in state_now().title
        assert KEY not in state_now().title

    def test_names_an_engine_that_cannot_be_loaded_once_an_event_is_overdue(self, settings):
        captured(due_for=300)
        settings.BREVO_EVENTS = {"ENGINE": "no.Engine"}

        assert state_now().name == "misconfigured"
        assert "'ENGINE'] is 'no.Engine'" in state_now().title

    @pytest.mark.parametrize("given", [{}, {"TRANSPORT": "console"}, {**HTTP, "MA_KEY": KEY}, {"RETENTION_DAYS": "x"}])
    def test_finds_no_fault_in_settings_with_which_events_are_sent(self, settings, given):
        settings.BREVO_EVENTS = given

        assert setting_fault() == ""

    def test_is_stalled_if_events_are_due_for_long_and_nothing_sends(self):
        requested(captured(due_for=300), ago=500)

        found = state_now()

        assert (found.name, found.level) == ("stalled", "error")
        assert found.title.replace("\xa0", " ") == "Nothing is sending. The oldest event has been due for 5 minutes."
        assert "Start send_brevo_events --loop" in found.advice

    @pytest.mark.parametrize("engine", ["celery", "tasks"])
    def test_is_stalled_if_the_workers_of_a_task_queue_do_not_run(self, settings, engine):
        settings.BREVO_EVENTS = {"ENGINE": engine}
        requested(captured(due_for=300), ago=500)

        assert "your task queue's worker and scheduler" in state_now().advice

    def test_is_behind_if_events_are_due_for_long_while_requests_are_made(self):
        requested(captured(due_for=300), ago=5)

        assert (state_now().name, state_now().level) == ("behind", "warning")
        assert not state_now().is_faulty

    def test_is_on_hold_while_a_fault_closes_the_gate(self):
        captured(due_for=300)
        closed()

        found = state_now()

        assert (found.name, found.level, found.title) == (
            "on_hold",
            "error",
            "Delivery is on hold: Brevo does not accept the key (401).",
        )
        assert "Check MA_KEY" in found.advice
        assert re.fullmatch(
            r"The next try is in (1 min|\d+ s), with one event. Nothing is lost until then.", found.facts[1]
        )
        assert (found.reason, found.event, found.buttons) == ("account", None, ("try_now", "pause"))
        assert found.since < found.until

    def test_on_hold_says_since_when_and_which_event_caused_it(self):
        Gate.load().close(GateReason.OUTAGE, 503, 60.0, event=77)
        Gate.objects.update(closed_at=in_seconds(-90))

        found = state_now()

        assert found.title == "Delivery is on hold: Brevo does not answer (503)."
        assert re.fullmatch(r"Since (.*, )?\d\d:\d\d:\d\d \(1 min 3\d s\)\.", found.facts[0])
        assert "with a few events" in found.facts[1]
        assert found.facts[2] == "Event #77 caused it."
        assert found.event == 77

    @pytest.mark.parametrize(("overdue", "name"), [(60, "on_hold"), (180, "stalled")])
    def test_is_stalled_if_nothing_probes_a_closed_gate_either(self, overdue, name):
        captured(due_for=300)
        closed()
        Gate.objects.update(closed_until=in_seconds(-overdue))

        assert state_now().name == name

    def test_promises_no_try_while_it_is_paused_too(self):
        closed(seconds=60)
        Gate.load().pause()

        found = state_now()

        assert (found.name, found.also.name) == ("paused", "on_hold")
        assert "next try" not in " ".join(found.also.facts)

    def test_is_paused_whatever_else_is_wrong_and_says_that_too(self, without_key):
        Gate.load().pause()

        found = state_now()

        assert (found.name, found.level, found.title) == ("paused", "warning", "Delivery is paused by a command.")
        assert found.advice == "Events wait until you resume."
        assert f"Also: {NO_KEY} Events are kept" in found.explanation
        assert (found.also.name, found.buttons) == ("misconfigured", ("resume",))
        assert not found.is_faulty

    def test_of_a_pause_without_a_fault_says_since_when_and_no_more(self):
        Gate.load().pause()

        assert re.fullmatch(r"Events wait until you resume\. Since [\d:]+ \(\d s\)\.", state_now().explanation)
        assert state_now().also is None

    def test_of_a_pause_says_by_whom_why_and_until_when(self):
        Gate.load().pause(by="root", reason="deploy 4.2", until=dt.timedelta(minutes=15))

        found = state_now()

        assert found.title == "Delivery is paused by root: “deploy 4.2”."
        assert re.fullmatch(r"Events wait until you resume, or until (.*, )?[\d:]+ \(in 1[45] min.*\)\.", found.advice)
        assert (found.by, found.reason) == ("root", "deploy 4.2")
        assert found.until - found.since == dt.timedelta(minutes=15)

    def test_a_pause_with_an_end_is_over_by_itself(self):
        Gate.load().pause(until=dt.timedelta(minutes=15))
        Gate.objects.update(paused_until=in_seconds(-1))

        assert state_now().is_well


class EverywhereTests:
    """Every page and the command give the same answer."""

    def test_a_missing_key_is_told_on_every_page(self, without_key):
        browser, event = root(), captured()

        for url in (LIST, f"{LIST}overview/", page_of(event)):
            page = text_of(browser.get(url)).replace("&#x27;", "'")
            assert f"<strong>{NO_KEY}</strong>" in page, url
            assert "Events are kept, and are sent once it is right. It is in Brevo's menu" in page, url
            assert "as they become due" not in page, url

    def test_nothing_sending_is_told_on_every_page(self):
        browser, event = root(), captured(due_for=300)

        for url in (LIST, f"{LIST}overview/", page_of(event), "/admin/brevo_events/"):
            page = text_of(browser.get(url))
            assert "<strong>Nothing is sending." in page, url
            assert "as they become due" not in page, url

    @pytest.mark.parametrize("trouble", ["no key", "pause", "on hold"])
    def test_an_event_that_waits_says_what_it_waits_for(self, settings, trouble):
        browser, event = root(), captured(due_for=3)
        if trouble == "no key":
            settings.BREVO_EVENTS = {**HTTP, "ENGINE": "thread"}
        elif trouble == "pause":
            Gate.load().pause()
        else:
            closed()

        page = text_of(browser.get(page_of(event))).replace("&#x27;", "'")

        sentence, steps = (
            page.partition(begin)[2].partition(end)[0]
            for begin, end in (('"brevo-answer"', "</p>"), ('"brevo-timeline"', "</ol>"))
        )
        assert f"Waits.</strong> {state_now().title}" in sentence
        assert state_now().title in steps
        assert "Overdue" not in page
        assert "Next attempt" not in page

    def test_the_end_of_a_pause_says_what_still_keeps_events_back(self, without_key):
        Gate.load().pause()

        page = text_of(root().post(f"{LIST}overview/resume/", follow=True)).replace("&#x27;", "'")

        assert f"The pause is over, but: {NO_KEY}" in page

    @pytest.mark.parametrize("trouble", ["no key", "nothing sends", "on hold"])
    @pytest.mark.parametrize("form", ["text", "json"])
    def test_the_status_command_exits_with_2_and_says_what_to_do(self, settings, trouble, form):
        if trouble == "no key":
            settings.BREVO_EVENTS = {**HTTP, "ENGINE": "thread"}
        elif trouble == "nothing sends":
            captured(due_for=300)
        else:
            closed()

        code, out, err = status("--format", form)

        expected = {"no key": "misconfigured", "nothing sends": "stalled", "on hold": "on_hold"}[trouble]
        assert code == 2
        assert err.startswith(f"{state_now().title} {state_now().advice}")
        assert (json.loads(out)["state"] if form == "json" else out.split()[1]) == expected

    def test_the_status_command_exits_with_0_while_delivery_is_paused(self, without_key):
        Gate.load().pause()

        code, out, err = status("--format", "json")

        assert (code, json.loads(out)["state"], json.loads(out)["gate"], err) == (0, "paused", "paused", "")

    def test_the_status_as_json_tells_a_pause_and_what_caused_a_hold(self):
        Gate.load().close(GateReason.ACCOUNT, 401, event=5)
        Gate.load().pause(by="root", reason="deploy", until=dt.timedelta(minutes=15))

        told = json.loads(status("--format", "json")[1])

        assert (told["paused_by"], told["pause_reason"], told["gate_closed_by_event"]) == ("root", "deploy", 5)
        assert told["paused_since"] < told["paused_until"]
        Gate.load().resume()
        told = json.loads(status("--format", "json")[1])
        assert {told[name] for name in told if name.startswith("pause")} == {None}

    @pytest.mark.parametrize("word", ["open", "closed", "paused"])
    def test_the_status_as_json_does_not_hang_on_what_people_are_shown(self, monkeypatch, word):
        if word == "closed":
            closed()
        elif word == "paused":
            Gate.load().pause()
        monkeypatch.setattr(Gate, "__str__", lambda self: "something for people")

        assert json.loads(status("--format", "json")[1])["gate"] == word

    @pytest.mark.parametrize(("count", "sentence"), [(1, "1 event has failed."), (2, "2 events have failed.")])
    def test_the_status_command_counts_failed_events_in_good_english(self, count, sentence):
        for _ in range(count):
            captured()
        OutboxEvent.objects.update(status="failed", due_at=None)

        assert status("--max-failed", "0")[2].startswith(sentence)


@pytest.mark.django_db(transaction=True)
class MissingTableTests:
    @pytest.mark.parametrize(
        "command",
        [
            ["brevo_events_status"],
            ["send_brevo_events"],
            ["resend_brevo_events", "--status", "failed"],
            ["cancel_brevo_events", "--email", ADA],
            ["prune_brevo_events"],
            ["erase_brevo_contact", ADA, "--no-input"],
        ],
        ids=lambda command: command[0],
    )
    def test_commands_say_that_migrate_has_to_run(self, request, command):
        rename(OutboxEvent._meta.db_table, "elsewhere")
        request.addfinalizer(lambda: rename("elsewhere", OutboxEvent._meta.db_table))

        with pytest.raises(CommandError, match=r"The database 'default' has no outbox yet: run manage\.py migrate"):
            run(*command)

    @pytest.mark.parametrize(
        ("alias", "command"),
        [("default", "migrate brevo_events"), ("outbox", "migrate brevo_events --database outbox")],
    )
    def test_the_command_names_another_database_than_the_default_one(self, alias, command):
        assert migrate_command(alias) == f"manage.py {command}"

    def test_another_error_of_the_database_is_not_explained_away(self, monkeypatch):
        def fail(*arguments):
            raise OperationalError("disk I/O error")

        monkeypatch.setattr("brevo_events.management.commands.brevo_events_status.summarise", fail)

        with pytest.raises(OperationalError, match="disk I/O error"):
            run("brevo_events_status")


def rename(table, name):
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {name}")
