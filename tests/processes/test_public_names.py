from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

import brevo_events
from tests.snippets import ROOT


def run_python(*arguments, cwd, **env):
    """Run Python as a process of its own, where no Django settings are named."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "PYTEST", "BREVO"))}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=cwd, env=clean | {"PYTHONPATH": str(ROOT)} | env, capture_output=True, text=True, timeout=120
    )


def output(code, cwd):
    process = run_python("-W", "error", "-c", code, cwd=cwd)
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


class WithoutSettingsTests:
    def test_the_package_can_be_imported_and_loads_nothing_else(self, tmp_path):
        code = (
            "import sys, brevo_events\n"
            "print(sorted(name for name in sys.modules if name.startswith(('brevo_events.', 'django', 'requests'))))\n"
            "print(brevo_events.__all__ == [n for n in dir(brevo_events) if n in brevo_events.__all__])"
        )

        assert output(code, tmp_path).splitlines() == [
            "['brevo_events.lazy']",
            str(sorted(brevo_events.__all__) == brevo_events.__all__),
        ]

    def test_an_event_can_be_made(self, tmp_path):
        code = "from brevo_events import Event; print(Event('a', 'ada@example.com', data={'n': 1}).json())"

        expected = '{"email":"ada@example.com","event":"a","eventdata":{"data":{"n":1}}}'
        assert output(code, tmp_path) == expected

    def test_a_snapshot_can_be_taken(self, tmp_path):
        assert output("from brevo_events import snapshot; print(snapshot('x', n='upper'))", tmp_path) == "{'n': 'X'}"

    def test_the_fake_can_be_used(self, tmp_path):
        code = (
            "import sys\n"
            "from brevo_events.testing import FakeBrevo, Reply\n"
            "with FakeBrevo() as brevo: print(brevo.url)\n"
            "print([name for name in sys.modules if name.startswith(('django', 'brevo_events.models'))])"
        )

        url, loaded = output(code, tmp_path).splitlines()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api/v2/trackEvent", url)
        assert loaded == "[]"

    def test_the_fake_can_be_run_from_a_shell(self, tmp_path):
        process = run_python("-W", "error", "-m", "brevo_events.testing.fake_brevo", "--help", cwd=tmp_path)

        assert (process.returncode, process.stderr) == (0, "")
        assert "--port" in process.stdout

    @pytest.mark.parametrize(
        "plugins",
        [[], ["-p", "no:django"], ["-p", "no:django", "-p", "no:brevo_events", "-p", "brevo_events.pytest_plugin"]],
    )
    def test_a_project_that_has_no_django_can_run_its_tests(self, tmp_path, plugins):
        (tmp_path / "test_plain.py").write_text("def test_plain():\n    assert True\n")

        process = run_python("-m", "pytest", "-q", "-W", "error", *plugins, cwd=tmp_path)

        assert process.returncode == 0, process.stdout + process.stderr
        assert "1 passed" in process.stdout

    def test_the_plugin_offers_its_fixture(self, tmp_path):
        process = run_python("-m", "pytest", "--fixtures", "-q", cwd=tmp_path)

        assert "brevo_outbox -- " in process.stdout


class TypesTests:
    SNIPPET = """
from brevo_events import {names}
from django.db.models.signals import post_save
from typing import Any

def made(sender: object, **kwargs: object) -> Event | None: ...

more: dict[str, Any] = {{"points": 5}}

reveal_type(Event("a", "ada@example.com"))
reveal_type(snapshot(object(), "x"))
reveal_type(track("a", "ada@example.com"))
reveal_type(track_many([]))
reveal_type(track_on(post_save)(made))
reveal_type(muted()(made))
track(5)
Event("a")
track(commerce.cart_updated("", cart_id=1, currency="EUR", items=[commerce.Item(name="a", price=1, **more)], **more))
commerce.cart_updated("", cart_id=1, currency="EUR", items=[], dicount=5)
"""

    def test_are_seen_by_mypy(self, tmp_path):
        snippet = tmp_path / "snippet.py"
        snippet.write_text(self.SNIPPET.format(names=", ".join(brevo_events.__all__)))

        options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path / "cache")]
        process = run_python("-m", "mypy", *options, str(snippet), cwd=ROOT)

        revealed = re.findall(r'Revealed type is "(.*)"', process.stdout)
        assert [re.sub(r"builtins\.|brevo_events\.\w+\.|typing\.|\bNone: ", "", text) for text in revealed][:4] == [
            "Event",
            "dict[str, Any]",
            "OutboxEvent | None",
            "list[OutboxEvent]",
        ], process.stdout + process.stderr
        for decorated in revealed[4:]:
            assert re.fullmatch(r"def \(sender: .*, \*\*kwargs: .*\) -> .*Event \| None", decorated)
        assert len(revealed) == 6
        assert re.findall(r"error: .*\[([a-z-]+)\]", process.stdout) == ["arg-type", "call-arg", "call-arg"]

    def test_are_shipped(self):
        assert (ROOT / "brevo_events" / "py.typed").is_file()
