"""The recipes in docs/monitoring.md work: alerts on a hold, and probes of the liveness file."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import time

import django
import pytest
from django.core import mail

from brevo_events import Event, signals, track_many
from brevo_events.clock import in_seconds
from brevo_events.delivery import deliver
from brevo_events.models import Gate, OutboxEvent
from brevo_events.testing import Reply
from tests.snippets import DOCS, snippets

PAGE = DOCS / "monitoring.md"
ADMINS = ["ops@example.com"] if django.VERSION >= (6, 0) else [("Ops", "ops@example.com")]


@pytest.fixture
def run_snippet():
    """Run the snippet that is a file of this name; its receivers are taken out again."""
    turns = (signals.gate_closed, signals.gate_opened)
    before = [list(each.receivers) for each in turns]
    kept = {"__name__": "shop"}  # receivers are held by weak references

    def run(file):
        (snippet,) = [each for each in snippets(PAGE, "python") if each.file == file]
        exec(compile(snippet.text, str(snippet), "exec"), kept)

    yield run
    for each, receivers in zip(turns, before, strict=True):
        each.receivers = receivers
        each.sender_receivers_cache.clear()


def let_brevo_be_down(brevo):
    brevo.always(Reply.error(503, "unavailable"))
    track_many([Event("cart_updated", f"{number}@example.com") for number in range(500)])
    deliver()
    for _ in range(2):  # probes
        Gate.objects.update(closed_until=in_seconds(-1))
        deliver()


def let_brevo_be_back(brevo):
    brevo.always(None)
    Gate.objects.update(closed_until=in_seconds(-1))
    OutboxEvent.objects.unfinished().update(due_at=in_seconds(-1))
    deliver()


@pytest.mark.django_db(transaction=True)
class AlertTests:
    # Django's own handler of logs does not name a mailer yet.
    @pytest.mark.filterwarnings("ignore:Django 2028 will not have a default mailer")
    def test_by_email_are_one_mail_for_a_hold_and_one_for_its_end(self, fake_brevo, settings, run_snippet):
        settings.ADMINS = ADMINS
        run_snippet("shop/alerts.py")

        let_brevo_be_down(fake_brevo)

        (told,) = mail.outbox
        assert told.to == ["ops@example.com"]
        assert told.subject.endswith("Brevo delivery is on hold")
        assert told.body.startswith("Brevo does not answer (503). Events are kept")

        let_brevo_be_back(fake_brevo)

        assert [each.subject.rpartition("] ")[2] for each in mail.outbox[1:]] == ["Brevo delivery goes on"]

    def test_say_nothing_of_a_pause(self, fake_brevo, settings, run_snippet):
        settings.ADMINS = ADMINS
        run_snippet("shop/alerts.py")

        Gate.load().pause()
        deliver()
        Gate.load().resume()

        assert mail.outbox == []

    @pytest.fixture
    def issues(self):
        """What Sentry is sent, by its own client."""
        sentry_sdk = pytest.importorskip("sentry_sdk")
        found = []

        class Transport(sentry_sdk.Transport):
            def capture_envelope(self, envelope):
                found.extend(filter(None, [envelope.get_event()]))

        # The other integrations that it has by default would patch Django for all later tests.
        by_log = importlib.import_module("sentry_sdk.integrations.logging").LoggingIntegration()
        options = {"default_integrations": False, "integrations": [by_log], "auto_enabling_integrations": False}
        sentry_sdk.init(dsn="https://key@sentry.example.com/1", transport=Transport, **options)
        yield found
        sentry_sdk.get_client().close()
        sentry_sdk.init(default_integrations=False)

    def test_sentry_makes_one_issue_of_a_hold_without_any_code(self, fake_brevo, issues):
        let_brevo_be_down(fake_brevo)

        (issue,) = issues
        assert issue["logger"] == "brevo_events.delivery.breaker"
        assert issue["level"] == "error"
        assert issue["logentry"]["message"] == "Delivery is on hold: %s."

    def test_by_sentry_are_one_issue_with_its_cause_and_a_tag(self, fake_brevo, issues, run_snippet, monkeypatch):
        ignored = pytest.importorskip("sentry_sdk.integrations.logging")._IGNORED_LOGGERS
        monkeypatch.setattr("sentry_sdk.integrations.logging._IGNORED_LOGGERS", set(ignored))
        run_snippet("shop/sentry.py")

        let_brevo_be_down(fake_brevo)

        (issue,) = issues
        assert issue["message"] == "Brevo delivery is on hold: Brevo does not answer (503)"
        assert (issue["level"], issue["tags"]["brevo_events.reason"]) == ("error", "outage")


def probe(language, pattern):
    """Return the one command of this page that a pattern finds, and the file at which it looks."""
    (found,) = [match for each in snippets(PAGE, language) for match in re.findall(pattern, each.text)]
    (file,) = re.findall(r"find (\S+)", found)
    return found, file


class ProbeTests:
    @pytest.fixture
    def file(self, tmp_path):
        return tmp_path / "alive"

    def touch(self, file, minutes):
        file.touch()
        os.utime(file, (time.time() - 60 * minutes,) * 2)

    def test_of_kubernetes_fails_if_the_file_is_old_or_missing(self, file):
        found, path = probe("yaml", r"\[\"sh\".*\]")
        command = json.loads(found.replace(path, str(file)))
        (worker,) = re.findall(r"command: (\[\"python\".*\])", snippets(PAGE, "yaml")[0].text)
        assert path == json.loads(worker)[-1]

        missing = subprocess.run(command, stderr=subprocess.DEVNULL).returncode
        self.touch(file, minutes=0)
        fresh = subprocess.run(command).returncode
        self.touch(file, minutes=10)
        old = subprocess.run(command).returncode

        assert (missing, fresh, old) == (1, 0, 1)

    def test_of_systemd_restarts_the_service_if_the_file_is_old(self, file, tmp_path):
        found, path = probe("ini", r"ExecStart=/bin/sh -c '(.*)'")
        assert any(f"--liveness-file {path}\n" in each.text for each in snippets(PAGE, "ini"))
        called = tmp_path / "called"
        stub = tmp_path / "systemctl"
        stub.write_text(f'#!/bin/sh\necho "$@" >> {called}\n')
        stub.chmod(0o755)
        path_of_stub = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

        for minutes in (0, 10):
            self.touch(file, minutes)
            subprocess.run(["/bin/sh", "-c", found.replace(path, str(file))], check=True, env=path_of_stub)

        assert called.read_text() == "try-restart brevo-events\n"
