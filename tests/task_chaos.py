"""
Deliver by a task queue through kills and an outage of the broker, and check that every guarantee held.

``python -m tests.task_chaos celery-rabbitmq|celery-redis|tasks``, on the
database that ``TEST_DATABASE_URL`` names and the brokers that
``TEST_RABBITMQ_URL`` and ``TEST_REDIS_URL`` name: two workers, one of which is
killed with -9 three times, and a broker that is down for 20 seconds. Then a
burst: how many tasks it takes, and when its last event is sent. Ends by itself,
and exits with 1 if a guarantee was broken.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from urllib.parse import urlsplit

from tests import chaos
from tests.conftest import KEY
from tests.proxy import Proxy
from tests.queues import BROKERS, Queue, kill

EVENTS, CONTACTS, SECONDS = 1000, 50, 35
BURST = 500
OUTAGE = (8, 28)  # seconds after the beginning
KILLS = (3, 6, 31)
SETTINGS = {**chaos.SETTINGS, "RETRY_BACKOFF": 1}


def capture(count, seconds):
    """Capture events at an even pace, in a process of the project; print how that went."""
    import django

    import tests.queue_app  # noqa: F401

    django.setup()
    from brevo_events import engines, track

    engine, queued = engines.current(), []
    enqueue = engine.enqueue
    engine.enqueue = lambda: enqueue() or queued.append(time.monotonic())
    took, began = [], time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + seconds * number / count - time.monotonic()))
        at = time.monotonic()
        assert track("step", f"contact{number * 7 % CONTACTS}@example.com", object_id=str(number))
        took.append((time.monotonic() - at) * 1000)
    last = time.monotonic()
    time.sleep(2)
    print(json.dumps({"took": took, "seconds": last - began, "last": last, "tasks": len(queued)}))


class Run:
    """One run on one queue."""

    def __init__(self, name, database, brevo, proxy, folder):
        broker = BROKERS[name]
        if proxy:
            broker = broker.replace(f":{urlsplit(broker).port}", f":{proxy.port}")
        self.queue = Queue(database, {**SETTINGS, "URL": brevo.url}, broker)
        self.proxy, self.brevo, self.folder = proxy, brevo, folder
        self.kills = 0

    def storm(self):
        """Capture, kill and cut the broker off; return when everything has been sent, or nothing more is."""
        workers = [self.queue.worker(), self.queue.worker()]
        self.queue.beat(self.folder)
        time.sleep(5)
        writer = self.queue.start("-m", "tests.task_chaos", "--capture", str(EVENTS), str(SECONDS), reads=True)
        began, is_up = time.monotonic(), True
        while time.monotonic() - began < chaos.PATIENCE and chaos.unfinished() != (0, EVENTS):
            time.sleep(0.05)
            at = time.monotonic() - began
            if self.kills < len(KILLS) and at > KILLS[self.kills] and leased():
                number = self.kills % 2
                kill(workers[number])
                print(f"{at:.0f} s: killed a worker, {leased()} events are leased")
                workers[number] = self.queue.worker()
                self.kills += 1
            if self.proxy and is_up == (OUTAGE[0] < at < OUTAGE[1]):
                is_up = not is_up
                (self.proxy.listen if is_up else self.proxy.stop)()
                print(f"{at:.0f} s: the broker is {'up' if is_up else 'down'}, {chaos.unfinished()} events wait")
        print(f"all sent after {time.monotonic() - began:.0f} s, {self.kills} kills")
        told = json.loads(writer.communicate(timeout=60)[0])
        print(
            f"{len(told['took'])} captures: median {statistics.median(told['took']):.1f} ms, "
            f"slowest {max(told['took']):.0f} ms; {told['tasks']} tasks queued by that process"
        )

    def burst(self):
        """Capture a burst; print how many tasks that took, and how late the last event was."""
        self.brevo.reset()
        writer = self.queue.start("-m", "tests.task_chaos", "--capture", str(BURST), "1", reads=True)
        told = json.loads(writer.communicate(timeout=60)[0])
        self.brevo.wait_for(BURST, timeout=30)
        last = [request for request in self.brevo.requests if request.json["eventdata"]["id"] == str(BURST - 1)]
        late = last[0].received_at - told["last"]
        print(f"{BURST} captures in {told['seconds']:.2f} s: {told['tasks']} tasks, the last event after {late:.3f} s")
        if told["tasks"] > 40 or late > 1:
            yield "a burst takes too many tasks, or too long"


def leased():
    from brevo_events.models import OutboxEvent

    return OutboxEvent.objects.exclude(lease_token=None).count()


def storm(name, database):
    from brevo_events.models import OutboxEvent
    from brevo_events.testing import FakeBrevo, Reply

    address = urlsplit(BROKERS[name])
    proxied = Proxy(address.hostname, address.port) if BROKERS[name] else nullcontext()
    with FakeBrevo(ma_key=KEY) as brevo, proxied as proxy, tempfile.TemporaryDirectory() as folder:
        brevo.always(Reply(204, delay=0.1))
        run = Run(name, database, brevo, proxy, folder)
        with run.queue:
            run.storm()
            # A killed worker may have as many unrecorded answers as requests in flight.
            yield from chaos.broken_promises(brevo.requests, 2 * run.kills, EVENTS)
            OutboxEvent.objects.all().delete()
            yield from run.burst()


def main():
    if sys.argv[1:2] == ["--capture"]:
        return capture(int(sys.argv[2]), float(sys.argv[3]))
    parser = argparse.ArgumentParser(prog="python -m tests.task_chaos")
    parser.add_argument("queue", choices=BROKERS)
    name = parser.parse_args().queue
    if name != "tasks" and not BROKERS[name]:
        return print(f"Left out: there is no broker for {name} in the environment.")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

    import django
    from django.conf import settings
    from django.db import connection
    from django.test.utils import override_settings

    django.setup()
    print(f"{name} on {connection.vendor}, Django {django.__version__}")
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        with override_settings(BREVO_EVENTS=SETTINGS, DEBUG=False):
            broken = list(storm(name, connection.settings_dict["NAME"]))
    finally:
        connection.creation.destroy_test_db(settings.DATABASES["default"]["NAME"], verbosity=0)
    print("\n".join(broken) or "Every promise was kept.")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
