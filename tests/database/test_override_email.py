from __future__ import annotations

import pytest

from brevo_events import track
from brevo_events.delivery import deliver
from brevo_events.models import OutboxEvent

pytestmark = pytest.mark.django_db(transaction=True)

TARGET = "staging@example.org"


class OverrideTests:
    def test_leaves_the_real_contact_in_the_outbox(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "OVERRIDE_EMAIL": TARGET}
        captured = [track("viewed", email, data={"n": 1}) for email in ("ada@example.com", "bob@example.com")]

        deliver()

        assert [body["email"] for body in fake_brevo.events] == [TARGET] * 2
        assert [(row.email, row.contact, row.body) for row in OutboxEvent.objects.order_by("pk")] == [
            (row.email, row.contact, row.body) for row in captured
        ]
        assert OutboxEvent.objects.of_contact("ADA@example.com").get().status == "sent"
        assert not OutboxEvent.objects.of_contact(TARGET).exists()
