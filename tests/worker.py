"""
Run a management command in a process of its own, on the database that a test is using.

``python -m tests.worker DATABASE_NAME BREVO_EVENTS_AS_JSON COMMAND [ARGUMENT …]``
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def start(database, brevo_events, *command):
    """Start the process; the caller ends it."""
    arguments = [str(database), json.dumps(brevo_events), *command]
    return subprocess.Popen([sys.executable, "-m", "tests.worker", *arguments], cwd=Path(__file__).parent.parent)


def main(database, brevo_events, *command):
    import django
    from django.conf import settings
    from django.core.management import call_command

    from tests import settings as base

    values = {name: getattr(base, name) for name in dir(base) if name.isupper()}
    values["DATABASES"]["default"]["NAME"] = database
    settings.configure(**values, BREVO_EVENTS=json.loads(brevo_events))
    django.setup()
    shorten_cooldowns()
    call_command(*command)


def shorten_cooldowns():
    """Let a closed gate be probed soon: a test has no quarter of a minute."""
    from brevo_events.models import Gate

    Gate.FIRST_COOLDOWN = 1
    Gate.MAX_COOLDOWN = 2


if __name__ == "__main__":
    main(*sys.argv[1:])
