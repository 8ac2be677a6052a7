"""Task queues with real workers: every captured event is sent, whatever dies."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from importlib.util import find_spec

import pytest
from django.db import connection

from brevo_events.models import OutboxEvent, Status
from brevo_events.testing import Reply
from tests.queues import BROKERS, Queue, kill
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

CONCURRENCY = 4
CAPTURE = "from brevo_events import track\nfor n in range({}): track('a', f'{{n % 10}}@example.com', object_id=str(n))"


@pytest.fixture(params=BROKERS)
def queue(request, fake_brevo, settings):
    if missing := [name for name in ("celery", "redis", "django_tasks_db") if not find_spec(name)]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if request.param != "tasks" and not BROKERS[request.param]:
        pytest.skip(f"{request.param.replace('celery-', 'TEST_').upper()}_URL is not set")
    values = {**settings.BREVO_EVENTS, "CONCURRENCY": CONCURRENCY, "TIMEOUT": 0.5}
    with Queue(connection.settings_dict["NAME"], values, BROKERS[request.param]) as queue:
        yield queue


def count(status):
    return OutboxEvent.objects.filter(status=status).count()


def arrivals(brevo):
    return [(request.json["email"], int(request.json["eventdata"]["id"])) for request in brevo.requests]


class TaskQueueTests:
    def test_sends_what_a_short_process_has_captured(self, queue):
        queue.worker()

        queue.shell(CAPTURE.format(1))

        wait_until(lambda: count(Status.SENT) == 1)

    def test_a_worker_that_is_killed_in_a_pass_loses_and_poisons_nothing(self, queue, fake_brevo, tmp_path):
        fake_brevo.always(Reply(204, delay=0.2))
        first = queue.worker()
        queue.shell(CAPTURE.format(60))
        fake_brevo.wait_for(2 * CONCURRENCY, timeout=30)

        kill(first)
        leased = count(Status.SENDING)
        queue.worker()
        queue.beat(tmp_path)

        wait_until(lambda: count(Status.SENT) == 60, timeout=60)
        assert leased
        assert len(set(arrivals(fake_brevo))) == 60
        # What was in flight, and at most as many answers that were not recorded yet.
        assert len(fake_brevo.requests) - 60 <= 2 * CONCURRENCY
        lines = defaultdict(list)
        for email, number in dict.fromkeys(arrivals(fake_brevo)):
            lines[email].append(number)
        assert all(numbers == sorted(numbers) for numbers in lines.values())

    def test_a_worker_that_is_told_to_end_finishes_its_pass_first(self, queue, fake_brevo):
        fake_brevo.always(Reply(204, delay=0.2))
        worker = queue.worker()
        queue.shell(CAPTURE.format(20))
        fake_brevo.wait_for(1, timeout=30)

        worker.terminate()

        began = time.monotonic()
        worker.wait(20)
        assert time.monotonic() - began < 15
        assert count(Status.SENDING) == 0
        assert set(Counter(arrivals(fake_brevo)).values()) == {1}
