from __future__ import annotations

import signal
import time

import pytest
from django.db import connection

from brevo_events import track
from brevo_events.choices import Status
from brevo_events.delivery import deliver
from brevo_events.delivery.claims import lease_seconds
from brevo_events.models import OutboxEvent
from brevo_events.testing import Reply
from tests import worker

pytestmark = pytest.mark.django_db(transaction=True)


class KilledWorkerTests:
    def test_its_event_is_sent_by_the_next_pass_after_the_lease(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "TIMEOUT": 0.2}
        event = track("order_completed", "ada@example.com")
        fake_brevo.next(Reply.hang(10))
        process = worker.start(connection.settings_dict["NAME"], settings.BREVO_EVENTS, "send_brevo_events")
        try:
            fake_brevo.wait_for(1, timeout=20)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()

        assert deliver() == {}
        assert OutboxEvent.objects.get(pk=event.pk).status == Status.SENDING

        time.sleep(lease_seconds() + 0.1)

        assert deliver() == {Status.SENT: 1}
        assert len(fake_brevo.requests) == 2
        assert OutboxEvent.objects.get(pk=event.pk).attempts == 1
