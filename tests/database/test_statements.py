"""How many statements a delivery takes, and their SQL on each database."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from brevo_events import Event, track, track_many
from brevo_events.choices import Status
from brevo_events.delivery import deliver, statements
from brevo_events.delivery.pipeline import Pipeline
from brevo_events.models import Gate, OutboxEvent, SendAttempt

pytestmark = pytest.mark.django_db(transaction=True)


def statements_of(act):
    with CaptureQueriesContext(connection) as queries:
        act()
    return [query["sql"] for query in queries]


@pytest.fixture(autouse=True)
def _settled(settings):
    """What is asked once for each connection has been asked."""
    settings.BREVO_EVENTS = {"ENGINE": "worker"}
    track("warm", "warm@example.com")
    deliver()


def drain():
    pipeline = Pipeline()
    while pipeline.step():
        pass
    pipeline.close()


class CountTests:
    @pytest.mark.parametrize("coalesce", [False, True])
    def test_an_event_alone_costs_eight_statements_begin_and_commit_included(self, coalesce):
        event = track("a", "a@example.com", coalesce=coalesce)

        made = statements_of(drain)

        assert OutboxEvent.objects.get(pk=event.pk).status == Status.SENT
        assert len(made) == 8, made

    def test_a_batch_costs_hardly_more_than_one(self):
        track_many([Event("a", f"{n}@example.com") for n in range(30)])

        made = statements_of(drain)

        assert SendAttempt.objects.count() == 31
        assert len(made) <= 8 + 6 * 5, made  # answers come in a few groups

    def test_an_idle_look_costs_one(self):
        assert len(statements_of(drain)) == 1

    def test_a_look_at_a_closed_gate_costs_two(self):
        track("a", "a@example.com")
        Gate.load().close("account", 401)

        assert len(statements_of(drain)) == 2

    def test_they_are_composed_once(self):
        assert statements.of("default") is statements.of("default")


class WordsTests:
    @pytest.mark.parametrize("vendor", ["postgresql", "mysql", "sqlite"])
    def test_no_statement_has_a_word_left_out(self, vendor):
        said = statements._in_words_of(vendor)

        assert not any("{" in statement or "}" in statement for statement in said)

    def test_the_tables_are_those_of_the_models(self):
        words = statements.SAME_WORDS

        assert [words["events"], words["attempts"], words["gate"]] == [
            model._meta.db_table for model in (OutboxEvent, SendAttempt, Gate)
        ]
