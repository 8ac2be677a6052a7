"""
Run a management command in a separate process, on the database that a test is using.

``python -m tests.worker DATABASE_NAME BREVO_EVENTS_AS_JSON COMMAND [ARGUMENT …]``
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path


def start(database, brevo_events, *command):
    """Start the process; the caller ends it."""
    arguments = [str(database), json.dumps(brevo_events), *command]
    return subprocess.Popen([sys.executable, "-m", "tests.worker", *arguments], cwd=Path(__file__).parent.parent)


def main(database, brevo_events, *command):
    import django
    from django.conf import settings
    from django.core.management import execute_from_command_line

    from tests import settings as base

    values = {name: getattr(base, name) for name in dir(base) if name.isupper()}
    values["DATABASES"]["default"]["NAME"] = database
    settings.configure(**values, BREVO_EVENTS=json.loads(brevo_events))
    django.setup()
    shorten_waits()
    execute_from_command_line(["manage.py", *command])


def shorten_waits():
    """Probe a closed gate soon, and end a hanging process soon, because a test can't wait for minutes."""
    from brevo_events import worker
    from brevo_events.models import Gate

    worker.RECORDING = 1.0
    Gate.FIRST_COOLDOWN = 1
    Gate.MAX_COOLDOWN = 2


def hang(event):
    """Never return from the call to CONSENT."""
    time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])
