"""
Customers edit, order and cancel at once while workers deliver: no deadlock, and nothing stale is sent last.

To run it for longer than the suite has time for: ``STORM_SECONDS=60 pytest -k storm -s`` prints what was seen.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter, defaultdict

import pytest
from django.db import connection, connections, transaction
from django.db.models import Count, Max, Q

from brevo_events import Event, cancel, track, track_many
from brevo_events.choices import UNFINISHED, Reason, Status
from brevo_events.clock import in_seconds
from brevo_events.models import OutboxEvent, SendAttempt
from brevo_events.testing import Reply
from brevo_events.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = float(os.environ.get("STORM_SECONDS", "4"))
PATIENCE = 30 + SECONDS  # seconds until all is quiet
WRITERS, WORKERS, KEYS, CONTACTS = 6, 2, 20, 10
DELAYS = [None, None, 0.3, 1.5]


class Customers:
    """Threads that capture, order and cancel, each transaction on one to three keys in any order."""

    def __init__(self, count):
        self.errors = []
        self.done = Counter()
        self._ends_at = time.monotonic() + SECONDS
        self._lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=(random.Random(seed),)) for seed in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            thread.join()

    @property
    def are_busy(self):
        return any(thread.is_alive() for thread in self.threads)

    def _run(self, dice):
        while time.monotonic() < self._ends_at:
            try:
                with transaction.atomic():
                    done = self._visit(dice)
                with self._lock:
                    self.done.update(done)
            except Exception as error:
                self.errors.append(error)
            time.sleep(dice.uniform(0, 0.01))
        connections.close_all()

    def _visit(self, dice):
        done = Counter()
        for key in dice.sample(range(KEYS), dice.randint(1, 3)):
            self._edit(key, dice)
            done["captures"] += 1
            time.sleep(dice.choice([0, 0, 0.002]))
        if dice.random() < 0.1:
            track_many([Event("step", address(key), object_id="steps") for key in dice.sample(range(KEYS), 2)])
            done["captures"] += 2
        # Once in a transaction: two users who end each other's events in turn would deadlock on any database.
        match dice.random():
            case chance if chance < 0.1:
                self._order(dice)
                done["captures"] += 2
                done["orders"] += 1
            case chance if chance < 0.2:
                done["cancelled"] += cancel(address(dice.randrange(KEYS)), object_id="basket")
        if dice.random() < 0.05:
            transaction.set_rollback(True)
            return {"rollbacks": 1}
        return done

    def _edit(self, key, dice):
        delay = dice.choice(DELAYS)
        track("cart_updated", address(key), object_id=f"cart:{key}", data={"key": key}, coalesce=True, delay=delay)

    def _order(self, dice):
        email = address(dice.randrange(KEYS))
        track("basket_updated", email, object_id="basket", coalesce=True)
        track("order_completed", email, object_id="basket", supersedes=["basket_updated"])


class Watch:
    """Checks the invariants of delivery over and over."""

    def __init__(self):
        self.broken = Counter()
        self.looks = 0

    def look(self):
        self.looks += 1
        for name, count in broken_invariants():
            self.broken[name] += count


def address(key):
    return f"contact{key % CONTACTS}@example.com"


def broken_invariants():
    """Yield what one statement each finds, so that what others write meanwhile cannot mislead it."""
    unfinished, token = Q(status__in=UNFINISHED), Q(lease_token=None)
    rules = {
        "unfinished without a due time": unfinished & Q(due_at=None),
        "parked and not pending": Q(parked=True) & ~Q(status=Status.PENDING),
        "sending without a token": Q(status=Status.SENDING) & token,
        "a token and not sending": ~Q(status=Status.SENDING) & ~token,
        "finished and not dated": ~unfinished & Q(finished_at=None),
        "overdue": Q(due_at__lt=in_seconds(-20)),
        "parked for longer than five minutes": Q(due_at__gt=in_seconds(301)),
    }
    for name, rule in rules.items():
        if count := OutboxEvent.objects.filter(rule).count():
            yield name, count
    sending = OutboxEvent.objects.filter(status=Status.SENDING).values("contact").order_by()
    if count := sending.annotate(at_once=Count("pk")).filter(at_once__gt=1).count():
        yield "two of one contact at once", count


def work(workers, errors):
    try:
        for worker in workers:
            worker.run()
    except BaseException as error:
        errors.append(error)
    finally:
        connections.close_all()


def deadlocks():
    """Return how many deadlocks the server has counted since it began; None on SQLite, which has none."""
    sql = {
        "postgresql": "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
        "mysql": "SELECT COUNT FROM information_schema.INNODB_METRICS WHERE NAME = 'lock_deadlocks'",
    }.get(connection.vendor)
    if sql is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def is_quiet():
    return not OutboxEvent.objects.exclude(due_at=None).exists()


def storm():
    errors, watch = [], Watch()
    workers = [Worker(concurrency=4) for _ in range(WORKERS)]
    threads = [threading.Thread(target=work, args=([worker], errors)) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        with Customers(WRITERS if connection.features.has_select_for_update else 2) as customers:
            while customers.are_busy:
                watch.look()
                time.sleep(0.1)
        began = time.monotonic()
        while not is_quiet() and time.monotonic() - began < PATIENCE:
            watch.look()
            time.sleep(0.1)
        quiet_after = time.monotonic() - began
    finally:
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join()
    return customers, watch, errors, quiet_after


class StormTests:
    def test_sends_the_newest_of_each_key_last_and_deadlocks_nobody(self, fake_brevo, settings, caplog):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "TIMEOUT": 5, "RETRY_BACKOFF": 0.2, "MAX_ATTEMPTS": 100}
        dice = random.Random(4)
        fake_brevo.when(lambda body: dice.random() < 0.02, Reply.error(500, "internal_error"), repeat=True)
        fake_brevo.always(Reply(204, delay=0.01))
        before = deadlocks()

        customers, watch, errors, quiet_after = storm()

        found = Counter(OutboxEvent.objects.values_list("status", "reason"))
        print(
            f"\n{connection.vendor}: {dict(customers.done)} in {SECONDS:.0f} s, quiet after {quiet_after:.1f} s, "
            f"{len(fake_brevo.requests)} requests, {len(customers.errors)} errors of writers, "
            f"{len(errors)} of workers, deadlocks {before} -> {deadlocks()}, "
            f"{watch.looks} looks: {dict(watch.broken)}, {dict(found)}"
        )
        assert customers.errors == []
        assert errors == []
        assert "asked again" not in caplog.text
        assert "lease had run out" not in caplog.text
        if connection.vendor == "postgresql":  # MariaDB counts those of every database; a deadlock is an error above
            assert deadlocks() == before
        assert is_quiet()
        assert not watch.broken
        assert list(broken_invariants()) == []
        assert not OutboxEvent.objects.filter(Q(parked=True) | ~Q(lease_token=None)).exists()
        assert not OutboxEvent.objects.filter(status=Status.FAILED).exists()
        self.assert_the_newest_went_out_last(fake_brevo)
        self.assert_what_was_not_sent_has_its_reason()

    def assert_the_newest_went_out_last(self, brevo):
        carts = OutboxEvent.objects.filter(name="cart_updated")
        newest = dict(carts.values_list("object_id").annotate(Max("pk")).order_by())
        sent = defaultdict(list)
        attempts = SendAttempt.objects.filter(response_code=204, event__name="cart_updated")
        for object_id, pk in attempts.order_by("started_at").values_list("event__object_id", "event_id"):
            sent[object_id].append(pk)
        bodies = {request.json["eventdata"]["id"]: request.body for request in brevo.requests if request.status == 204}

        assert {object_id: pks[-1] for object_id, pks in sent.items()} == newest
        assert all(pks == sorted(set(pks)) for pks in sent.values())
        assert len(attempts) == sum(
            request.status == 204 and request.json["event"] == "cart_updated" for request in brevo.requests
        )
        for event in carts.filter(pk__in=newest.values()):
            assert bodies[event.object_id] == event.body.encode()

    def assert_what_was_not_sent_has_its_reason(self):
        statuses = set(OutboxEvent.objects.values_list("name", "status", "reason"))
        superseded, by_user = (Status.CANCELLED, Reason.SUPERSEDED), (Status.CANCELLED, Reason.APPLICATION)

        assert statuses <= {
            *((name, Status.SENT, "") for name in ("cart_updated", "basket_updated", "step", "order_completed")),
            *((name, *superseded) for name in ("cart_updated", "basket_updated")),
            *((name, *by_user) for name in ("basket_updated", "order_completed")),
        }
        assert not OutboxEvent.objects.exclude(status=Status.SENT).filter(name="step").exists()
