"""
Deliver through a storm, and check that every guarantee held.

``python -m tests.chaos [--restart COMMAND]``, on the database that
``TEST_DATABASE_URL`` names: three workers, one of which is killed with -9 every
second, and an endpoint that answers 500, hangs, resets and answers 429.
``--restart`` runs a command that restarts the database, twice during the run.
Ends by itself, and exits with 1 if a guarantee was broken.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict

from tests.conftest import KEY

EVENTS, CONTACTS, WORKERS, CONCURRENCY = 1200, 40, 3, 8
PATIENCE = 150  # seconds
SETTINGS = {
    "MA_KEY": KEY,
    "TRANSPORT": "http",
    "ENGINE": "worker",
    "TIMEOUT": 0.5,
    "RETRY_BACKOFF": 0.2,
    "MAX_ATTEMPTS": 100,
    "CONCURRENCY": CONCURRENCY,
}


class Storm:
    """Decides how each request fares; most succeed."""

    def __init__(self, seed):
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def replies(self):
        from brevo_events.testing import Reply

        return {
            "error": (0.06, Reply.error(500, "internal_error")),
            "reset": (0.03, Reply.reset()),
            "hang": (0.02, Reply.hang(2)),
            "throttled": (0.004, Reply.too_many(retry_after=1)),
        }

    def let_loose(self, brevo):
        for share, reply in self.replies().values():
            brevo.when(lambda _body, share=share: self._strikes(share), reply, repeat=True)

    def _strikes(self, share):
        with self._lock:
            return self._random.random() < share


class Workers:
    """Keeps some workers running, and kills one now and then."""

    def __init__(self, database, settings):
        self._database, self._settings = database, settings
        self._processes = [self._start() for _ in range(WORKERS)]
        self.kills = 0

    def kill_one(self):
        number = self.kills % WORKERS
        self._processes[number].kill()
        self._processes[number].wait()
        self._processes[number] = self._start()
        self.kills += 1

    def stop(self):
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(20)

    def _start(self):
        from tests import worker

        return worker.start(self._database, self._settings, "send_brevo_events", "--loop", "--verbosity=0")


def capture_all():
    from django.db import connections

    from brevo_events import track

    spellings = [str.lower, str.upper, str.title]
    for number in range(EVENTS):
        email = spellings[number % 3](f"contact{number * 7 % CONTACTS}@example.com")
        while not patiently(track, "step", email, object_id=str(number)):
            time.sleep(0.2)
        time.sleep(0.002)
    connections.close_all()


def patiently(function, *arguments, **options):
    """Call a function that needs the database, and return None while the database is unavailable."""
    from django.db import InterfaceError, OperationalError, connections

    try:
        return function(*arguments, **options)
    except (OperationalError, InterfaceError):
        connections.close_all()
        return None


def unfinished():
    from brevo_events.models import OutboxEvent

    return patiently(lambda: (OutboxEvent.objects.unfinished().count(), OutboxEvent.objects.count()))


def storm(database, seed, restart):
    from brevo_events.testing import FakeBrevo

    with FakeBrevo(ma_key=SETTINGS["MA_KEY"], latency=0.005) as brevo:
        Storm(seed).let_loose(brevo)
        writer = threading.Thread(target=capture_all, daemon=True)
        writer.start()
        workers = Workers(database, {**SETTINGS, "URL": brevo.url})
        began, restarts = time.monotonic(), 0
        try:
            while time.monotonic() - began < PATIENCE and unfinished() != (0, EVENTS):
                time.sleep(1)
                if workers.kills < 25:
                    workers.kill_one()
                if restart and restarts < 2 and time.monotonic() - began > 5 * (restarts + 1):
                    subprocess.run(shlex.split(restart), check=True)
                    restarts += 1
        finally:
            workers.stop()
        print(f"{time.monotonic() - began:.0f} s, {workers.kills} kills, {restarts} restarts")
        return brevo.requests, workers.kills


def broken_promises(requests, kills, events=EVENTS):
    from brevo_events.models import OutboxEvent

    statuses = Counter(OutboxEvent.objects.values_list("status", flat=True))
    taken = Counter(int(r.json["eventdata"]["id"]) for r in requests if r.status == 204)
    duplicates = sum(taken.values()) - len(taken)
    print(f"{len(requests)} requests, {dict(Counter(request.status for request in requests))}")
    print(f"{duplicates} duplicates, {dict(statuses)}")
    if statuses != {"sent": events} or len(taken) != events:
        yield f"lost: {statuses}, {events - len(taken)} never taken"
    if duplicates > kills * CONCURRENCY:
        yield f"{duplicates} duplicates are more than {kills} kills times {CONCURRENCY}"
    arrivals = defaultdict(list)
    for request in requests:
        number = int(request.json["eventdata"]["id"])
        if number not in arrivals[request.json["email"].lower()]:
            arrivals[request.json["email"].lower()].append(number)
    if disordered := [email for email, numbers in arrivals.items() if numbers != sorted(numbers)]:
        yield f"out of order: {disordered}"
    if OutboxEvent.objects.exclude(due_at=None).exists() or OutboxEvent.objects.exclude(lease_token=None).exists():
        yield "a finished event is still due, or leased"


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--restart", metavar="COMMAND", default="")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

    import django
    from django.conf import settings
    from django.db import connection
    from django.test.utils import override_settings

    django.setup()
    print(f"{connection.vendor}, seed {options.seed}")
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        with override_settings(BREVO_EVENTS=SETTINGS, DEBUG=False):
            requests, kills = storm(connection.settings_dict["NAME"], options.seed, options.restart)
            broken = list(broken_promises(requests, kills))
    finally:
        connection.creation.destroy_test_db(settings.DATABASES["default"]["NAME"], verbosity=0)
    print("\n".join(broken) or "Every promise was kept.")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
