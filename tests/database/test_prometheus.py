from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from brevo_events import track
from brevo_events.choices import GateReason
from brevo_events.clock import in_seconds
from brevo_events.delivery import deliver
from brevo_events.models import Gate, OutboxEvent, Status
from brevo_events.testing import Reply
from tests.browsing import LIST, browser_of
from tests.commands import run

prometheus_client = pytest.importorskip("prometheus_client")

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _fresh(fake_brevo):
    cache.clear()


def scraped():
    """The figures of a scrape, by name and labels."""
    from brevo_events.contrib.prometheus import BrevoEventsCollector

    registry = prometheus_client.CollectorRegistry()
    registry.register(BrevoEventsCollector())
    text = prometheus_client.generate_latest(registry).decode()
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name.removeprefix("brevo_events_"): float(value) for name, _, value in lines}


def labelled(figures, name):
    """Those figures of one name that are not 0, by their labels."""
    return {key.removeprefix(name): value for key, value in figures.items() if key.startswith(f"{name}{{") and value}


def overview():
    """What the overview of the admin shows."""
    return browser_of(User.objects.create_superuser("root")).get(f"{LIST}overview/").context_data


def a_busy_hour(brevo):
    """Events that were sent, have failed, wait and are overdue."""
    brevo.when(lambda body: body["event"] == "refused", Reply.error(400, "invalid_parameter", "No."), repeat=True)
    brevo.when(lambda body: body["event"] == "broken", Reply.error(500, "internal_error"), repeat=True)
    for number in range(6):
        track("cart_updated", f"{number}@example.com")
    for number in range(3):
        track("refused", f"r{number}@example.com")
    track("broken", "broken@example.com")
    deliver()
    late = track("viewed", "late@example.com")
    OutboxEvent.objects.filter(pk=late.pk).update(due_at=in_seconds(-300), available_at=in_seconds(-300))


class BrevoEventsCollectorTests:
    def test_of_an_empty_outbox_has_its_figures_too(self):
        found = scraped()

        assert found["up"] == 1
        assert found["oldest_due_seconds"] == found["failed"] == 0
        assert labelled(found, "state") == {'{state="sending"}': 1}
        assert labelled(found, "waiting") == labelled(found, "ended_last_hour") == labelled(found, "on_hold") == {}

    def test_says_what_the_overview_and_the_status_say(self, fake_brevo):
        a_busy_hour(fake_brevo)

        found = scraped()
        status = json.loads(run("brevo_events_status", "--format=json"))
        page = overview()
        figures, pulse, requests = page["figures"], page["pulse"], page["requests"]
        state, shown = page["state"], page["waiting"]

        # The status.
        assert labelled(found, "waiting") == {'{status="pending"}': status["pending"]}
        assert found["failed"] == status["failed"] == 3
        assert found["oldest_due_seconds"] == pytest.approx(status["oldest_due_seconds"], abs=10)
        assert labelled(found, "state") == {f'{{state="{status["state"]}"}}': 1}
        # The overview.
        assert labelled(found, "state") == {f'{{state="{state.name}"}}': 1}
        assert sum(labelled(found, "waiting").values()) == figures.waiting == int(shown) == 2
        assert found["oldest_due_seconds"] == pytest.approx(pulse.oldest_due_seconds, abs=10)
        assert found["oldest_due_seconds"] >= 300
        ended = labelled(found, "ended_last_hour")
        assert ended == {'{event="cart_updated",status="sent"}': 6, '{event="refused",status="failed"}': 3}
        assert sum(hour.sent for hour in figures.hours) == 6
        assert sum(hour.failed for hour in figures.hours) == 3
        assert sum(group.failed for group in figures.failures) == 3
        codes = {f'{{code="{code}"}}': count for code, _, count in requests.codes}
        assert labelled(found, "answers") == codes == {'{code="204"}': 6, '{code="400"}': 3, '{code="500"}': 1}
        times = {'{quantile="0.5"}': requests.median, '{quantile="0.95"}': requests.percentile_95}
        assert labelled(found, "answer_seconds") == {label: time / 1000 for label, time in times.items() if time}
        last = OutboxEvent.objects.filter(status=Status.SENT).latest("finished_at").finished_at
        assert found["last_sent_timestamp_seconds"] == pytest.approx(last.timestamp())

    @pytest.mark.parametrize("reason", GateReason)
    def test_says_what_puts_delivery_on_hold(self, reason):
        Gate.load().close(reason, 503, 60)

        found, state = scraped(), overview()["state"]

        assert labelled(found, "on_hold") == {f'{{reason="{state.reason}"}}': 1}
        assert labelled(found, "state") == {f'{{state="{state.name}"}}': 1}
        assert (state.reason, state.name) == (reason, "on_hold")

    def test_says_that_an_operator_has_paused(self):
        Gate.load().pause()

        found, state = scraped(), overview()["state"]

        assert labelled(found, "on_hold") == {'{reason="paused"}': 1}
        assert labelled(found, "state") == {f'{{state="{state.name}"}}': 1} == {'{state="paused"}': 1}

    def test_counts_only_the_last_hour_by_name(self, fake_brevo):
        for email in ("ada@example.com", "bob@example.com"):
            track("viewed", email)
        deliver()
        OutboxEvent.objects.filter(email__startswith="ada").update(finished_at=in_seconds(-3700))

        assert labelled(scraped(), "ended_last_hour") == {'{event="viewed",status="sent"}': 1}

    def test_counts_no_more_than_its_limit(self, monkeypatch):
        monkeypatch.setattr("brevo_events.health.COUNT_LIMIT", 2)
        for number in range(3):
            track("viewed", f"{number}@example.com")

        assert labelled(scraped(), "waiting") == {'{status="pending"}': 2}

    def test_asks_the_same_queries_however_much_there_is(self, fake_brevo):
        with CaptureQueriesContext(connection) as empty:
            scraped()
        a_busy_hour(fake_brevo)

        with CaptureQueriesContext(connection) as full:
            scraped()

        assert len(full) == len(empty) == 10

    def test_asks_nothing_to_be_registered(self, django_assert_num_queries):
        from brevo_events.contrib.prometheus import BrevoEventsCollector

        with django_assert_num_queries(0):
            prometheus_client.CollectorRegistry(auto_describe=True).register(BrevoEventsCollector())

    def test_says_that_the_outbox_could_not_be_read_and_spares_other_metrics(self, monkeypatch, caplog):
        def fail(**options):
            raise OperationalError("away\nada@example.com")

        monkeypatch.setattr("brevo_events.health.summarise", fail)

        from brevo_events.contrib.prometheus import BrevoEventsCollector

        collector = BrevoEventsCollector()
        for _ in range(3):  # an outage is one error, not one for each scrape
            (up,) = collector.collect()
            assert (up.name, up.samples[0].value) == ("brevo_events_up", 0)
        assert [record.getMessage() for record in caplog.records] == ["The outbox could not be read: OperationalError"]
        assert "ada@" not in caplog.text
