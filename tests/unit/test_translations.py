from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import translation

from brevo_events.answers import meaning
from brevo_events.choices import Status
from tests.snippets import ROOT

PACKAGE = ROOT / "brevo_events"
CATALOGUE = Path("locale/fr/LC_MESSAGES/django.po")


class FrenchTests:
    def test_speaks_french(self):
        with translation.override("fr"):
            assert Status.SENT.label == "Envoyé"
            assert meaning(204) == "Brevo a accepté l’événement."

    @pytest.mark.skipif(not shutil.which("msgfmt"), reason="gettext is not installed")
    def test_translates_every_text_and_is_compiled(self, tmp_path, monkeypatch):
        copy = shutil.copytree(PACKAGE, tmp_path / "brevo_events", ignore=shutil.ignore_patterns("__pycache__"))
        monkeypatch.chdir(copy)
        call_command("makemessages", locale=["fr"], no_obsolete=True, no_location=True, no_wrap=True, verbosity=0)
        compiled = tmp_path / "django.mo"
        counted = subprocess.run(
            ["msgfmt", "--statistics", "-o", compiled, copy / CATALOGUE], capture_output=True, text=True, check=True
        ).stderr

        assert "untranslated" not in counted
        assert "fuzzy" not in counted
        assert messages(compiled) == messages((PACKAGE / CATALOGUE).with_suffix(".mo"))

    def test_finds_every_text(self):
        """What stands in an f-string, makemessages does not see."""
        hidden = [
            f"{path.name}:{node.lineno}"
            for path in PACKAGE.rglob("*.py")
            for text in ast.walk(ast.parse(path.read_text()))
            if isinstance(text, ast.JoinedStr)
            for node in ast.walk(text)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("_", "gettext", "ngettext")
        ]

        assert hidden == []


def messages(compiled):
    shown = subprocess.run(["msgunfmt", compiled], capture_output=True, text=True, check=True).stdout
    return shown.partition("\n\n")[2]
