"""Calls of identify: captured, ordered and shown like any event, but sent to their own URL."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from brevo_events import Event, cancel, identify, muted, privacy, track, track_many
from brevo_events.choices import Call, Reason, Status
from brevo_events.clock import in_seconds
from brevo_events.delivery import deliver
from brevo_events.delivery.pipeline import Pipeline
from brevo_events.endpoints import TRACK_EVENT_URL, url_of
from brevo_events.events import Identification
from brevo_events.exceptions import InvalidEvent
from brevo_events.models import OutboxEvent
from brevo_events.signals import event_rejected
from brevo_events.testing import BrevoEventsTestMixin, Reply, capture_events
from brevo_events.transports import locmem
from brevo_events.worker import Worker
from tests.browsing import LIST, page_of, root, text_of
from tests.commands import run
from tests.conftest import KEY
from tests.deliveries import answered, claim, record
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

ADA, BOB = "ada@example.com", "bob@example.com"
FIRST_NAME = {"FIRSTNAME": "Ada"}
SENT, SUPERSEDED = (Status.SENT, ""), (Status.CANCELLED, Reason.SUPERSEDED)
IDENTIFY, TRACK = "/api/v2/identify", "/api/v2/trackEvent"


@pytest.fixture(autouse=True)
def _by_hand(settings):
    settings.BREVO_EVENTS = {"ENGINE": "worker", "RETRY_BACKOFF": 0}


@pytest.fixture
def brevo(fake_brevo, settings):
    settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "RETRY_BACKOFF": 0}
    return fake_brevo


def cart(content, email=ADA):
    return track("cart_updated", email, object_id="cart:1", data={"n": content}, coalesce=True)


def ends():
    return list(OutboxEvent.objects.order_by("pk").values_list("status", "reason"))


def calls(brevo):
    """What Brevo has accepted, in order: the call, and its attributes or event."""
    accepted = [request for request in brevo.requests if request.status == 204]
    return [(request.path, request.json.get("attributes") or request.json["event"]) for request in accepted]


class CaptureTests:
    def test_keeps_an_event_named_identify_that_is_another_call(self):
        event = identify(ADA, {"FIRSTNAME": "Ada", "SPENT": Decimal("1.50"), "BIRTHDAY": date(1815, 12, 10)})

        kept = OutboxEvent.objects.get()
        assert (kept.pk, kept.name, kept.call, kept.object_id) == (event.pk, "identify", Call.IDENTIFY, None)
        attributes = {"FIRSTNAME": "Ada", "SPENT": 1.5, "BIRTHDAY": "1815-12-10"}
        assert json.loads(kept.body) == {"email": ADA, "attributes": attributes}
        assert (kept.properties, kept.data) == (attributes, None)

    def test_is_in_the_callers_transaction(self):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            identify(ADA, FIRST_NAME)
            raise ZeroDivisionError

        assert not OutboxEvent.objects.exists()

    def test_costs_one_statement(self):
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            identify(ADA, FIRST_NAME)

        assert [query["sql"].split()[0] for query in queries] == ["INSERT"]

    def test_keeps_nothing_if_muted_not_enabled_not_consented_or_seen_before(self, settings):
        with muted():
            assert identify(ADA, FIRST_NAME) is None
        identify(ADA, FIRST_NAME, idempotency_key="once")
        assert identify(BOB, FIRST_NAME, idempotency_key="once") is None
        settings.BREVO_EVENTS = {"CONSENT": lambda event: event.name != "identify" or not event.properties}
        assert identify(ADA, FIRST_NAME) is None
        settings.BREVO_EVENTS = {"ENABLED": False}
        assert identify(ADA, {}) is None

        assert OutboxEvent.objects.count() == 1

    @pytest.mark.parametrize(
        ("attributes", "message"),
        [
            (None, "attributes must be a dict, as in .*; {} if only the address is known"),
            ([("FIRSTNAME", "Ada")], "attributes must be a dict, not list"),
            ({"email": BOB}, r"attributes\.email is reserved by Brevo"),
            ({"A": object()}, r"attributes\.A is of type object"),
            ({"A": "\0"}, r"attributes\.A contains a NUL"),
        ],
    )
    def test_refuses_what_cannot_be_sent(self, attributes, message):
        with pytest.raises(InvalidEvent, match=message):
            identify(ADA, attributes)

    def test_takes_an_address_of_which_no_more_is_known(self):
        assert json.loads(identify(ADA, {}).body) == {"email": ADA, "attributes": {}}

    @pytest.mark.parametrize("email", [None, "", "ada"])
    def test_refuses_what_is_no_address(self, email):
        with pytest.raises(InvalidEvent, match="email"):
            identify(email, FIRST_NAME)

    def test_is_announced_where_errors_are_not_raised(self, settings, caplog):
        settings.BREVO_EVENTS = {"RAISE_ERRORS": False}
        rejected = []
        tell = lambda sender, error, **kwargs: rejected.append(error)  # noqa: E731
        event_rejected.connect(tell)
        try:
            assert identify(ADA, None) is None
        finally:
            event_rejected.disconnect(tell)

        assert "attributes must be a dict" in caplog.text
        assert len(rejected) == 1

    def test_its_name_is_for_it_alone(self):
        with pytest.raises(InvalidEvent, match=r"call identify\(\)"):
            track("identify", ADA, properties=FIRST_NAME)

    def test_may_be_captured_among_others(self):
        kept = track_many([Identification(ADA, FIRST_NAME), Event("a", ADA)])

        assert [(event.name, event.call) for event in kept] == [("identify", "identify"), ("a", "trackEvent")]

    def test_is_among_the_captured_events_of_a_test(self):
        with capture_events() as events:
            identify(ADA, FIRST_NAME)

        assert [(event.name, event.email, event.properties) for event in events] == [("identify", ADA, FIRST_NAME)]


class AssertionTests(BrevoEventsTestMixin):
    def fail(self, message):
        raise AssertionError(message)

    def test_finds_it_by_its_name_and_attributes(self):
        with capture_events() as self._captured:
            identify(ADA, FIRST_NAME)

            self.assertEventTracked("identify", ADA, properties=FIRST_NAME)
            self.assertNoEventTracked("identify", BOB)


class AddressTests:
    @pytest.mark.parametrize(
        ("url", "beside"),
        [
            (TRACK_EVENT_URL, "https://in-automate.brevo.com/api/v2/identify"),
            ("http://127.0.0.1:8025/api/v2/trackEvent", "http://127.0.0.1:8025/api/v2/identify"),
            ("https://proxy.example.com/brevo/trackEvent?shop=1", "https://proxy.example.com/brevo/identify?shop=1"),
            ("https://proxy.example.com/brevo", "https://proxy.example.com/identify"),
            ("https://proxy.example.com", "https://proxy.example.com/identify"),
        ],
    )
    def test_is_the_one_beside_that_of_track_event(self, url, beside):
        assert url_of(Call.IDENTIFY, url) == beside
        assert url_of(Call.TRACK_EVENT, url) == url


class WireTests:
    def test_is_posted_to_its_own_address_with_the_key(self, brevo):
        identify(ADA, FIRST_NAME)

        deliver()

        (request,) = brevo.requests
        assert (request.method, request.path, request.status) == ("POST", IDENTIFY, 204)
        assert request.headers["ma-key"] == KEY
        assert request.json == {"email": ADA, "attributes": FIRST_NAME}
        assert ends() == [SENT]

    def test_goes_to_the_one_address_of_staging(self, brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "OVERRIDE_EMAIL": "staging@example.org"}
        identify(ADA, FIRST_NAME)

        deliver()

        (request,) = brevo.requests
        assert (request.path, request.json["email"]) == (IDENTIFY, "staging@example.org")

    def test_shares_its_connection_with_events(self, brevo):
        identify(ADA, FIRST_NAME)
        track("a", ADA)

        deliver()

        assert [request.path for request in brevo.requests] == [IDENTIFY, TRACK]
        assert len({request.client_port for request in brevo.requests}) == 1

    def test_a_bad_one_is_rejected_and_lets_the_next_go(self, brevo):
        brevo.next(Reply.error(400, "invalid_parameter", "attributes invalid"))
        identify(ADA, FIRST_NAME)
        track("a", ADA)

        deliver()

        assert ends() == [(Status.FAILED, Reason.REJECTED), SENT]

    def test_is_kept_in_memory_under_test(self):
        identify(ADA, FIRST_NAME)

        deliver()

        assert locmem.sent == [{"email": ADA, "attributes": FIRST_NAME}]

    def test_alone_costs_eight_statements_begin_and_commit_included(self, settings):
        track("warm", "warm@example.com")
        deliver()
        identify(ADA, FIRST_NAME)

        with CaptureQueriesContext(connection) as queries:
            pipeline = Pipeline()
            while pipeline.step():
                pass
            pipeline.close()

        assert len(queries) == 8, [query["sql"] for query in queries]


class NewestTests:
    def test_replaces_older_ones_and_is_not_merged_with_them(self, brevo):
        identify(ADA, FIRST_NAME)
        identify("ADA@example.com", {"LASTNAME": "Lovelace"})
        identify(BOB, {"FIRSTNAME": "Bob"})

        deliver()

        assert sorted(request.json["email"] for request in brevo.requests) == ["ADA@example.com", BOB]
        assert {"LASTNAME": "Lovelace"} in [request.json["attributes"] for request in brevo.requests]
        assert ends() == [SUPERSEDED, SENT, SENT]

    def test_does_not_replace_one_that_another_event_waits_for(self, brevo):
        for step in (1, 2):
            identify(ADA, {"STEP": step})
        cart(1)
        for step in (3, 4):
            identify(ADA, {"STEP": step})

        deliver()

        assert calls(brevo)[-2:] == [(TRACK, "cart_updated"), (IDENTIFY, {"STEP": 4})]
        assert calls(brevo)[-3] == (IDENTIFY, {"STEP": 2})
        assert not OutboxEvent.objects.unfinished().exists()

    def test_does_not_replace_one_that_fails_while_an_event_waits_for_it(self):
        first = identify(ADA, {"STEP": 1})
        assert claim(10) == [first]
        cart(1)
        identify(ADA, {"STEP": 2})

        record([answered(*_leased(first), status=500)])
        deliver()

        assert [body.get("attributes") or body["event"] for body in locmem.sent] == [
            {"STEP": 1},
            "cart_updated",
            {"STEP": 2},
        ]

    def test_replaces_one_that_fails_while_nothing_waits_for_it(self):
        first = identify(ADA, {"STEP": 1})
        claimed = claim(10)
        identify(ADA, {"STEP": 2})

        record([answered(claimed[0], status=500)])

        assert OutboxEvent.objects.get(pk=first.pk).reason == Reason.SUPERSEDED

    def test_replaces_those_behind_which_nothing_waits_any_more(self, brevo):
        identify(ADA, {"STEP": 1})
        cart(1)
        cancel(ADA, name="cart_updated")
        identify(ADA, {"STEP": 2})

        deliver()

        assert calls(brevo) == [(IDENTIFY, {"STEP": 2})]

    def test_older_ones_are_kept_while_the_contact_is_busy_with_another_event(self, brevo):
        track("busy", ADA)
        (busy,) = claim(10)
        identify(ADA, {"STEP": 1})
        cart(1)
        identify(ADA, {"STEP": 2})
        identify(ADA, {"STEP": 3})
        deliver()

        record([answered(busy)])
        deliver()

        assert calls(brevo) == [(IDENTIFY, {"STEP": 1}), (TRACK, "cart_updated"), (IDENTIFY, {"STEP": 3})]

    def test_delay_holds_back_the_first_of_them(self, brevo):
        identify(ADA, {"STEP": 1}, delay=60)
        identify(ADA, {"STEP": 2}, delay=60)
        deliver()
        assert brevo.requests == []
        OutboxEvent.objects.update(available_at=in_seconds(-1), due_at=in_seconds(-1))

        deliver()

        assert calls(brevo) == [(IDENTIFY, {"STEP": 2})]


def _leased(event):
    return list(OutboxEvent.objects.filter(pk=event.pk))


class FirstCartTests:
    """A new customer's first cart."""

    @pytest.mark.parametrize("workers", [1, 3])
    def test_arrives_after_identify_even_if_that_fails_twice(self, brevo, settings, in_thread, workers):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "RETRY_BACKOFF": 0.2}
        customers = [f"{n}@example.com" for n in range(10)]
        unlucky = customers[:2]  # of more, it would be an outage
        brevo.when(_first_two_of(unlucky), Reply.error(500, "internal_error"), repeat=True)
        running = [Worker() for _ in range(workers)]
        threads = [in_thread(worker.run) for worker in running]

        for email in customers:
            with transaction.atomic():
                identify(email, FIRST_NAME)
                cart(1, email)
        # As when a profile is saved again at login, while the first call still fails.
        for email in customers:
            identify(email, {"FIRSTNAME": "Ada", "LASTNAME": "Lovelace"})
        wait_until(lambda: not OutboxEvent.objects.unfinished().exists())
        for worker in running:
            worker.stop()
        for thread in threads:
            thread.join(10)

        for email in customers:
            accepted = [r for r in brevo.requests if r.json["email"] == email and r.status == 204]
            tried = [r.path for r in brevo.requests if r.json["email"] == email]
            assert tried[:3] == ([IDENTIFY] * 3 if email in unlucky else [IDENTIFY, TRACK, IDENTIFY])
            assert [r.path for r in accepted[:2]] == [IDENTIFY, TRACK]
            assert accepted[0].json["attributes"] == FIRST_NAME
            assert accepted[-1].json["attributes"]["LASTNAME"] == "Lovelace"


def _first_two_of(emails):
    seen = {}

    def matches(body):
        if "attributes" not in body or body["email"] not in emails:
            return False
        seen[body["email"]] = seen.get(body["email"], 0) + 1
        return seen[body["email"]] <= 2

    return matches


class LikeAnyEventTests:
    def test_is_cancelled_by_its_name(self):
        identify(ADA, FIRST_NAME)
        track("a", ADA)

        assert cancel(ADA, name="identify") == 1

    def test_is_chosen_by_commands_by_its_name(self):
        identify(ADA, FIRST_NAME)
        track("a", ADA)

        assert "1 event was cancelled" in run("cancel_brevo_events", "--event", "identify")
        assert "1 event will be sent again" in run("resend_brevo_events", "--event", "identify")

        deliver()
        assert len(locmem.sent) == 2

    def test_a_resend_skips_one_that_a_newer_replaces(self):
        identify(ADA, FIRST_NAME)
        cancel(ADA)
        identify(ADA, {"LASTNAME": "Lovelace"})
        deliver()

        assert "a newer event of the same contact" in run("resend_brevo_events", "--event", "identify")

    def test_is_resent_with_the_same_call_even_if_outdated(self, brevo):
        identify(ADA, FIRST_NAME)
        cancel(ADA)
        identify(ADA, {"LASTNAME": "Lovelace"})
        run("resend_brevo_events", "--event", "identify", "--include-outdated", "--status", "cancelled")

        deliver()

        assert (IDENTIFY, FIRST_NAME) in calls(brevo)

    def test_is_asked_about_again_before_it_is_sent(self, settings):
        identify(ADA, FIRST_NAME)
        asked = []
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONSENT": asked.append}

        deliver()

        assert asked == [Identification(ADA, FIRST_NAME)]
        assert ends() == [(Status.CANCELLED, Reason.NO_CONSENT)]

    def test_expires_by_its_name(self, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "EXPIRES": {"identify": 3600}}
        identify(ADA, FIRST_NAME)
        OutboxEvent.objects.update(expires_at=in_seconds(-1))

        deliver()

        assert ends() == [(Status.CANCELLED, Reason.EXPIRED)]

    def test_is_exported_and_erased(self):
        identify(ADA, FIRST_NAME)

        (exported,) = privacy.export(ADA)
        assert (exported["call"], exported["body"]) == ("identify", {"email": ADA, "attributes": FIRST_NAME})
        assert list(privacy.erase(ADA)) == [1]

        (erased,) = OutboxEvent.objects.all()
        assert (erased.email, erased.body, erased.coalesce_key, erased.properties) == ("", "{}", None, None)

    def test_is_shown_in_the_admin_with_its_own_curl_command(self, brevo):
        event = identify(ADA, FIRST_NAME)
        browser = root()

        assert "identify" in text_of(browser.get(f"{LIST}?name=identify"))
        page = text_of(browser.get(page_of(event)))
        assert f"curl -X POST {brevo.url.replace('trackEvent', 'identify')} " in page
        assert "&quot;FIRSTNAME&quot;: &quot;Ada&quot;" in page
