from __future__ import annotations

import pytest
from django.db import connection, transaction

from brevo_events import Event
from brevo_events.choices import Status
from brevo_events.models import OutboxEvent, outbox

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def _crowded():
    """Many finished events and few that wait, with the figures that a planner goes by."""
    row = OutboxEvent.of(Event("a", "a@example.com"))
    values = {"name": "a", "email": row.email, "body": row.body}
    finished = [OutboxEvent(**values, contact=str(n), status=Status.SENT, due_at=None) for n in range(20_000)]
    OutboxEvent.objects.bulk_create(finished, batch_size=2000)
    OutboxEvent.objects.bulk_create([OutboxEvent(**values, contact=str(n)) for n in range(200)])
    table = OutboxEvent._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute({"mysql": f"ANALYZE TABLE {table}"}.get(connection.vendor, f"ANALYZE {table}"))


@pytest.mark.usefixtures("_crowded")
class PlanTests:
    def test_the_claim_reads_only_what_is_due(self):
        window = outbox().due().order_by("due_at", "pk")

        with transaction.atomic():
            plan = window.lock_free()[:200].explain()

        assert "brevo_events_due" in plan

    def test_the_idle_question_reads_only_what_is_due(self):
        assert "brevo_events_due" in outbox().due().values("pk").order_by()[:1].explain()

    def test_the_line_of_a_contact_is_found_by_its_index(self):
        line = outbox().filter(contact="7", status=Status.PENDING).order_by("pk").values("pk")[:1]

        assert "brevo_events_contact" in line.explain()
