"""The doctor in a separate project, as a shop would run it: everything right, then one thing at a time broken."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import trustme

from brevo_events.testing import FakeBrevo, Reply
from tests.conftest import KEY
from tests.doctoring import API_KEY
from tests.snippets import ROOT
from tests.tls import TlsFront

ADA = "ada@example.com"

SETTINGS = """
import environ

env = environ.Env()
INSTALLED_APPS += ["brevo_events"]
BREVO_EVENTS = {"MA_KEY": env("BREVO_MA_KEY", default="")}
"""


class Project:
    """A new project with an empty database, whose settings are in the environment."""

    def __init__(self, folder, brevo):
        self.folder = folder
        self.brevo = brevo
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
            "PYTHONPATH": str(ROOT),
            "BREVO_MA_KEY": KEY,
            "BREVO_EVENTS_API_KEY": API_KEY,
            "BREVO_EVENTS_URL": brevo.url,
        }

    def run(self, *command):
        ran = subprocess.run([sys.executable, *command], cwd=self.folder, env=self.environment, capture_output=True)
        assert b"Traceback" not in ran.stderr, ran.stderr.decode()
        return ran

    def manage(self, *command):
        return self.run("manage.py", *command)

    def set(self, **values):
        for name, value in values.items():
            self.environment[f"BREVO_EVENTS_{name}"] = value

    def doctor(self):
        """Return the exit code and the findings, by check."""
        ran = self.manage("brevo_events_doctor", ADA, "--no-input", "--format=json")
        return ran.returncode, {finding["check"]: finding for finding in json.loads(ran.stdout)["findings"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    with FakeBrevo() as brevo:
        project = Project(folder, brevo)
        project.run("-m", "django", "startproject", "shop", ".")
        with (folder / "shop" / "settings.py").open("a") as settings:
            settings.write(SETTINGS)
        project.manage("migrate", "--verbosity=0")
    return folder


@pytest.fixture
def project(made, tmp_path):
    with FakeBrevo(ma_key=KEY, api_key=API_KEY) as brevo:
        shutil.copytree(made, tmp_path, dirs_exist_ok=True)
        yield Project(tmp_path, brevo)


def key_of_api_v3(project):
    project.environment["BREVO_MA_KEY"] = API_KEY


def unknown_key(project):
    project.environment["BREVO_MA_KEY"] = "x" * 24
    del project.environment["BREVO_EVENTS_API_KEY"]


def key_of_another_account(project):
    project.brevo.account_key = "x" * 24


def automation_off(project):
    project.brevo.is_automation_on = False


def contact_blocklisted(project):
    project.brevo.blocklisted.add(ADA)


def no_engine_running(project):
    project.set(ENGINE="worker")
    project.manage("shell", "-c", "from brevo_events import track; track('viewed', 'ada@example.com')")
    with closing(sqlite3.connect(project.folder / "db.sqlite3")) as database, database:
        database.execute("UPDATE brevo_events_outboxevent SET due_at = '2026-01-01', available_at = '2026-01-01'")


def gate_paused(project):
    project.manage("pause_brevo_delivery")


def wrong_url(project):
    project.set(URL=project.brevo.url.replace("trackEvent", "events"))


def no_dns(project):
    project.set(URL="https://no-such-host.invalid/api/v2/trackEvent")


def clock_two_hours_off(project):
    theirs = datetime.now(UTC) - timedelta(hours=2)
    project.brevo.next(Reply(405, {"date": format_datetime(theirs, usegmt=True)}))


def migrations_missing(project):
    project.manage("migrate", "brevo_events", "zero")


BREAKAGES = [
    (key_of_api_v3, "key", "a key of Brevo's API v3", "Set the ma-key"),
    (unknown_key, "identify", "401", "does not know the ma-key"),
    (key_of_another_account, "account_key", "not the key of this account", "Set the ma-key"),
    (automation_off, "automation", "switched off", "activate it"),
    (contact_blocklisted, "contact", "blocklisted", "Unblock only contacts who have agreed"),
    (no_engine_running, "engine", "Nothing is sending", "Start send_brevo_events --loop"),
    (gate_paused, "gate", "paused", "Resume it"),
    (wrong_url, "event", "404", "Check the setting URL"),
    (no_dns, "connection", "dns", "The host name was not found"),
    (clock_two_hours_off, "clock", "ahead", "NTP"),
    (migrations_missing, "migrations", "lacks tables", "Run manage.py migrate brevo_events"),
]


class DoctorTests:
    def test_finds_all_good_in_a_new_project(self, project):
        code, findings = project.doctor()

        outcomes = [finding["outcome"] for finding in findings.values()]
        assert outcomes == ["good"] * 13 + ["unseen"] * 4
        assert code == 0

    @pytest.mark.parametrize(
        ("breakage", "check", "detail", "advice"), BREAKAGES, ids=[each[0].__name__ for each in BREAKAGES]
    )
    def test_finds_exactly_what_is_broken_and_says_what_to_do(self, project, breakage, check, detail, advice):
        breakage(project)

        self.assert_only_wrong(project, check, detail, advice)

    def test_finds_an_expired_certificate(self, project, tmp_path):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        project.environment["REQUESTS_CA_BUNDLE"] = str(tmp_path / "ca.pem")
        # The account is read at the same host.
        del project.environment["BREVO_EVENTS_API_KEY"]

        expired = authority.issue_cert("localhost", not_after=datetime.now(UTC) - timedelta(days=1))
        with TlsFront(expired, project.brevo) as front:
            project.set(URL=front.url)

            self.assert_only_wrong(project, "connection", "certificate has expired", "Check the certificates")

    def assert_only_wrong(self, project, check, detail, advice):
        code, findings = project.doctor()

        wrong = [finding for finding in findings.values() if finding["outcome"] == "wrong"]
        assert [finding["check"] for finding in wrong] == [check]
        assert detail in wrong[0]["detail"]
        assert advice in wrong[0]["advice"]
        assert code == 1
