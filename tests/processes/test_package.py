from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile

from tests.sources import sources

CARRIED = (
    "py.typed",
    "migrations/0001_initial.py",
    "templates/admin/brevo_events/outboxevent/change_form.html",
    "templates/admin/brevo_events/outboxevent/overview.html",
    "static/brevo_events/admin.css",
    "static/brevo_events/overview.css",
    "locale/fr/LC_MESSAGES/django.po",
    "locale/fr/LC_MESSAGES/django.mo",
)


class BuiltPackagesTests:
    def test_the_wheel_carries_what_the_app_needs_and_nothing_else(self, built):
        names = zipfile.ZipFile(next(built.glob("*.whl"))).namelist()

        assert {f"brevo_events/{name}" for name in CARRIED} <= set(names)
        assert {name.split("/")[0].split("-")[0] for name in names} == {"brevo_events", "django_brevo_events"}

    def test_the_sdist_carries_it_too(self, built):
        with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}

        assert {f"brevo_events/{name}" for name in CARRIED} <= names
        assert {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml"} <= names

    def test_the_sdist_is_all_that_a_developer_needs(self, built):
        with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}

        assert sources() - names == set()
        assert not [name for name in names if name.endswith((".sqlite3", ".pyc", "/.env"))]

    def test_a_new_project_in_an_empty_environment_captures_an_event(self, built, tmp_path):
        python = tmp_path / "env" / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, next(built.glob("*.whl"))], check=True)
        clean = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        there = {"cwd": tmp_path, "env": clean, "check": True}
        subprocess.run([python, "-m", "django", "startproject", "site1", "."], **there)
        settings = tmp_path / "site1" / "settings.py"
        quickstart = 'import environ\nenv = environ.Env()\nINSTALLED_APPS += ["brevo_events"]\n'
        settings.write_text(
            settings.read_text() + quickstart + 'BREVO_EVENTS = {"MA_KEY": env("BREVO_MA_KEY", default="")}\n'
        )
        code = (
            "from brevo_events import track; from brevo_events.models import OutboxEvent; "
            "track('item_deleted', 'ada@example.com', object_id='cart:1234', data={'deletedItem': 'white shirt'}); "
            "print(OutboxEvent.objects.get().status)"
        )

        subprocess.run([python, "manage.py", "migrate", "--verbosity=0"], **there)
        shown = subprocess.run([python, "manage.py", "shell", "-c", code], **there, capture_output=True)

        assert shown.stdout.decode().split()[-1] == "pending"
        assert "Traceback" not in shown.stderr.decode()
