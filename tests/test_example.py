from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from brevo_events.testing import FakeBrevo
from tests.conftest import KEY

EXAMPLE = Path(__file__).parent.parent / "example_project"


@pytest.fixture
def manage(tmp_path):
    def run(*arguments, **environment):
        clean = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=EXAMPLE,
            env={**clean, "DATABASE_URL": f"sqlite:///{tmp_path}/shop.sqlite3", **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.mark.slow
class DemoTests:
    def test_shops_and_shows_the_answers_twice(self, manage):
        for _ in range(2):
            shown = manage("demo")

            lines = [line.split() for line in shown.stdout.splitlines() if line.startswith("#")]
            assert shown.returncode == 0, shown.stderr
            assert [line[1] for line in lines] == ["cart_updated"] * 3 + ["order_completed", "cart_updated"]
            assert lines[0][4:7] == ["Sent", "500,", "204"]
            assert lines[3][4:] == ["Sent", "204"]
            assert lines[4][4:6] == ["Failed", "400"]
            assert "invalid_parameter: Contact is blocklisted" in shown.stdout

    def test_with_a_key_sends_one_event_to_the_address_that_is_named(self, manage):
        with FakeBrevo(ma_key=KEY) as brevo:
            shown = manage("demo", "--email", "me@example.com", BREVO_MA_KEY=KEY, BREVO_EVENTS_URL=brevo.url)

            assert shown.returncode == 0, shown.stderr
            assert [(body["event"], body["email"]) for body in brevo.events] == [("cart_updated", "me@example.com")]

    def test_with_a_key_and_nobody_to_ask_says_what_to_do(self, manage):
        shown = manage("demo", BREVO_MA_KEY=KEY, BREVO_EVENTS_URL="http://127.0.0.1:1/")

        assert shown.returncode == 1
        assert "EMAIL=you@example.com" in shown.stderr


@pytest.mark.slow
class ProjectTests:
    def test_is_in_order(self, manage):
        assert manage("makemigrations", "--check", "--dry-run").returncode == 0
        checked = manage("check", "--database", "default")
        assert checked.returncode == 0
        assert "brevo_events.W003" not in checked.stderr
