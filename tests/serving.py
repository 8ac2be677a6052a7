"""The example shop in separate processes, on a SQLite file, with a fake Brevo."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path

import requests

from tests.conftest import KEY
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent


def environment(database, brevo, **more):
    """Return the environment of the shop's processes; the database is migrated."""
    found = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "example_project")]),
        "DATABASE_URL": f"sqlite:///{database}",
        "BREVO_MA_KEY": KEY,
        "BREVO_EVENTS_URL": brevo.url,
        "DEBUG": "False",
        **more,
    }
    subprocess.run([sys.executable, "-m", "django", "migrate", "--verbosity=0"], env=found, check=True)
    return found


@contextmanager
def serving(environment, *command):
    """Run a server, whose arguments may contain ``{port}``; yield the shop's URL and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [argument.format(port=port) for argument in command]
    folder = Path(environment["DATABASE_URL"].removeprefix("sqlite:///")).parent
    server = subprocess.Popen([sys.executable, "-m", *arguments], env=environment, cwd=folder)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(address))
        yield address, server
    finally:
        server.terminate()
        server.wait(30)


def answers(address):
    try:
        return requests.get(address, timeout=5).ok
    except requests.ConnectionError:
        return False


def statuses(database):
    """Return how many events have each status."""
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        return Counter(status for (status,) in connection.execute("SELECT status FROM brevo_events_outboxevent"))
