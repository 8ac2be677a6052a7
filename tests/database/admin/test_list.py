from __future__ import annotations

import datetime as dt
import re

import pytest
from django.core.cache import cache
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from brevo_events import Event, commerce, track
from brevo_events.admin import matches
from brevo_events.answers import Answer
from brevo_events.clock import UtcNow, in_seconds
from brevo_events.models import OutboxEvent, Reason, Status
from brevo_events.states import cancelled
from tests.browsing import (
    ADA,
    BOB,
    EVE,
    LIST,
    attempt,
    can_be_confirmed,
    ended,
    facts_of,
    hidden,
    page_of,
    pks_of,
    staff,
    text_of,
)

pytestmark = pytest.mark.usefixtures("by_hand")

MINUTE = dt.timedelta(minutes=1)
PARIS = timezone.get_default_timezone


def listed(client, **query):
    """Return the addresses of the listed events, in their order."""
    response = client.get(LIST, query)
    assert response.status_code == 200, response
    return [row.contact for row in response.context["rows"]]


def row_of(client, event, **query):
    """Return what the list says in the row of an event, part by part, without markup."""
    page = text_of(client.get(LIST, query))
    (row,) = [row for row in re.findall("<tr.*?</tr>", page, re.DOTALL) if f'value="{event.pk}"' in row]
    cells = re.findall(r'<t[dh] [^>]*class="brevo-(\w+)">(.*?)</t[dh]>', row, re.DOTALL)
    return {name: " ".join(re.sub("<.*?>", " ", cell).split()) for name, cell in cells}


def tabs_of(client, **query):
    """Return the number that each tab has."""
    return {tab.label: tab.total for tab in client.get(LIST, query).context["tabs"]}


def captured(email, at, **more):
    """Capture an event, as it were at a moment."""
    event = track(more.pop("name", "viewed"), email)
    OutboxEvent.objects.filter(pk=event.pk).update(created_at=at, **more)
    return event


def local(text):
    return timezone.make_aware(dt.datetime.fromisoformat(text))


@pytest.mark.django_db
class RowTests:
    def test_names_event_object_and_contact(self, client):
        event = track("viewed", ADA, object_id="cart:1")

        row = row_of(client, event)

        assert (row["what"], row["who"]) == ("viewed cart:1", ADA)

    @pytest.mark.parametrize(
        ("changes", "answer", "said"),
        [
            ({"status": "sent", "attempts": 1}, {"response_code": 204, "duration_ms": 121}, "Accepted 204 in 121 ms"),
            ({"status": "sent", "attempts": 2}, {"response_code": 204}, "Accepted 204 in 12 ms · 2 attempts"),
            (
                {"status": "failed", "reason": "rejected", "response_code": 400},
                {"response_code": 400, "answer": '{"code": "x", "message": "Contact is  blocklisted"}'},
                "Failed 400 Contact is blocklisted",
            ),
            (
                {"status": "failed", "reason": "gave_up", "attempts": 12},
                {"error": "timeout"},
                "Failed timeout · 12 attempts",
            ),
            ({"status": "failed", "reason": "rejected"}, None, "Failed Rejected by Brevo"),
            ({"status": "cancelled", "reason": "superseded"}, None, "Not needed a newer event replaced it"),
            ({"status": "cancelled", "reason": "operator"}, None, "Cancelled by an operator"),
            ({"status": "cancelled", "reason": "no_consent"}, None, "Cancelled No consent from the contact"),
            ({"status": "sending", "attempts": 2}, None, "Sending attempt 2 of 12"),
        ],
        ids=lambda value: "" if isinstance(value, dict) else value,
    )
    def test_says_what_became_of_it(self, client, changes, answer, said):
        event = ended(ADA, **changes)
        if answer:
            attempt(event, response_code=500)
            attempt(event, **answer)

        assert row_of(client, event)["became"] == said

    def test_says_until_when_an_expired_event_was_to_be_sent(self, client):
        until = local("2026-03-01T14:56:47")
        event = ended(ADA, Status.CANCELLED, reason="expired", expires_at=until)

        assert row_of(client, event)["became"] == "Cancelled expired: was to be sent by March 1, 2026, 14:56:47"

    @pytest.mark.parametrize(
        ("seconds", "attempts", "said"),
        [
            (200, 4, "Pending retry in 3 min 20 s · 503 Try later · attempt 4 of 12"),
            (-5, 4, "Pending retry is due · 503 Try later · attempt 4 of 12"),
            (45, 0, "Pending to be sent in 44 s"),
            (-7300, 0, "Pending due since 2 h 1 min"),
        ],
    )
    def test_says_when_a_waiting_event_is_tried(self, client, seconds, attempts, said):
        event = track("viewed", ADA)
        changes = {"due_at": in_seconds(seconds), "attempts": attempts, "response_code": 503 if attempts else None}
        OutboxEvent.objects.update(**changes)
        attempt(event, response_code=503, answer='{"message": "Try later"}')

        said_now = row_of(client, event)["became"]
        assert re.sub("4[3-5] s", "44 s", re.sub("3 min (1[89]|20) s", "3 min 20 s", said_now)) == said

    def test_leads_to_the_event_that_one_waits_for(self, client):
        first, second = track("viewed", ADA), track("viewed", ADA)
        OutboxEvent.objects.filter(pk=second.pk).update(parked=True)

        assert row_of(client, second)["became"] == f"Pending behind viewed #{first.pk}"
        assert text_of(client.get(LIST)).count(f'href="{page_of(first)}"') == 2

    def test_leads_to_the_event_that_replaced_one(self, client):
        old = ended(ADA, Status.CANCELLED, object_id="cart:1", reason="superseded")
        track("viewed", BOB, object_id="cart:1")
        track("viewed", ADA, object_id="cart:2")
        new = track("bought", ADA, object_id="cart:1")
        track("viewed", ADA, object_id="cart:1")

        assert row_of(client, old)["became"] == f"Not needed replaced by bought #{new.pk}"

    def test_names_the_same_successor_as_the_page_of_the_event(self, client):
        changes = [track("cart_updated", ADA, object_id="cart:1", coalesce=True) for _ in range(3)]
        events, last = OutboxEvent.objects.order_by("pk"), changes[-1]
        events.filter(pk__lt=last.pk).update(**cancelled(Reason.SUPERSEDED))
        events.filter(pk=last.pk).update(status=Status.SENT, due_at=None, finished_at=timezone.now())

        row, page = row_of(client, changes[0])["became"], text_of(client.get(page_of(changes[0])))
        assert row == f"Not needed replaced by cart_updated #{last.pk}"
        said = " ".join(re.sub("<.*?>", " ", page).split())
        assert f"superseded by cart_updated #{last.pk}" in said

    def test_has_one_link_for_each_target(self, client):
        event = ended(ADA, Status.FAILED, object_id="cart:1")

        assert text_of(client.get(LIST)).count(f'href="{page_of(event)}"') == 1

    @pytest.mark.parametrize(
        ("age", "words"),
        [
            (dt.timedelta(seconds=17), "17 s ago"),
            (dt.timedelta(minutes=6), "6 min ago"),
            (dt.timedelta(hours=3), "3 h ago"),
            (dt.timedelta(days=2), "November 22"),
            (dt.timedelta(days=800), "Sept. 15, 2024"),
        ],
    )
    def test_says_how_long_ago_it_was_with_the_exact_time_beside_it(self, client, monkeypatch, age, words):
        now = local("2026-11-24T15:00")
        monkeypatch.setattr("django.utils.timezone.now", lambda: now)
        at = now - age
        event = captured(ADA, at)

        assert row_of(client, event)["at"] == f"{words} {timezone.localtime(at):%H:%M:%S}"
        shown = re.search('<time datetime="(.*?)" title="(.*?)">', text_of(client.get(LIST)))
        assert dt.datetime.fromisoformat(shown[1]) == at
        assert shown[2].endswith(f"{timezone.localtime(at):%H:%M:%S}")

    def test_shows_when_it_ended_among_what_has_ended(self, client):
        event = ended(ADA, created_at=in_seconds(-7200), finished_at=in_seconds(-300))

        assert row_of(client, event)["at"].startswith("2 h ago")
        assert row_of(client, event, status="failed")["at"].startswith("5 min ")
        assert row_of(client, event, when="finished", span="month")["at"].startswith("5 min ")

    def test_of_an_erased_event_has_no_contact(self, client):
        event = ended(ADA, Status.CANCELLED, reason="erased")
        OutboxEvent.objects.update(email="", contact="", object_id=None)

        row = row_of(client, event)

        assert (row["who"], row["became"]) == ("", "Cancelled its contact was erased")

    def test_asks_the_database_as_often_for_fifty_events_as_for_five(self, client):
        counts = []
        for number in (5, 45):
            for index in range(number):
                attempt(ended(f"{index}@example.com"), response_code=400)
            cache.clear()
            with CaptureQueriesContext(connection) as queries:
                counts.append((len(listed(client)), len(queries)))

        (few, queries_of_few), (many, queries_of_many) = counts
        assert (few, many) == (5, 50)
        assert queries_of_few == queries_of_many

    def test_never_reads_the_bodies(self, client):
        ended(ADA)

        with CaptureQueriesContext(connection) as queries:
            listed(client)

        assert not [query["sql"] for query in queries if '"body"' in query["sql"] or "`body`" in query["sql"]]

    def test_can_be_chosen_in_a_window_of_its_own(self, client):
        event = ended(ADA)

        page = text_of(client.get(LIST, {"_popup": "1", "_to_field": "id"}))

        assert f'data-popup-opener="{event.pk}"' in page
        assert "RelatedObjectLookups.js" in page
        assert "_popup=1" in page
        assert 'name="_popup" value="1"' in page
        assert "Resend all" not in page

    def test_needs_none_of_the_scripts_by_which_others_are_edited(self, client):
        ended(ADA)

        scripts = re.findall(r'<script src="([^"]*)"', text_of(client.get(LIST)))

        assert [script.rpartition("/")[2] or script for script in scripts] == [
            "theme.js",
            "nav_sidebar.js",
            "live.js",
            "/admin/jsi18n/",
            "actions.js",
        ]


@pytest.mark.django_db
class TabTests:
    @pytest.fixture
    def events(self, client):
        track("viewed", "waiting@example.com")
        ended("sending@example.com", Status.SENDING, finished_at=None, due_at=UtcNow())
        ended("sent@example.com", Status.SENT, response_code=204)
        ended("failed@example.com", Status.FAILED, response_code=400)
        ended("replaced@example.com", Status.CANCELLED, reason="superseded")
        ended("expired@example.com", Status.CANCELLED, reason="expired")
        ended("stopped@example.com", Status.CANCELLED, reason="operator")

    @pytest.mark.parametrize("more", [{}, {"name": "viewed"}, {"span": "hour"}], ids=str)
    @pytest.mark.parametrize(
        ("status", "names"),
        [
            ("waiting", {"waiting", "sending"}),
            ("sent", {"sent"}),
            ("failed", {"failed"}),
            ("superseded", {"replaced"}),
            ("cancelled", {"expired", "stopped"}),
            ("", {"waiting", "sending", "sent", "failed", "replaced", "expired", "stopped"}),
            ("nonsense", {"waiting", "sending", "sent", "failed", "replaced", "expired", "stopped"}),
        ],
    )
    def test_show_and_count_the_events_of_a_status(self, client, events, more, status, names):
        response = client.get(LIST, {"status": status, **more})

        assert {row.contact.partition("@")[0] for row in response.context["rows"]} == names
        assert tabs_of(client, status=status, **more) == {
            "All": "7",
            "Waiting": "2",
            "Accepted": "1",
            "Failed": "1",
            "Not needed": "1",
            "Cancelled": "2",
        }

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"response": "4"}, {"All": "1", "Failed": "1"}),
            ({"name": "bought"}, {}),
            ({"q": "failed@example.com"}, {"All": "1", "Failed": "1"}),
            (
                {"when": "finished", "span": "hour"},
                {"All": "5", "Accepted": "1", "Failed": "1", "Not needed": "1", "Cancelled": "2"},
            ),
            ({"when": "finished", "to": "2020-01-01T00:00"}, {}),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("status", ["", "failed", "waiting"])
    def test_count_what_also_matches_the_filters(self, client, events, query, expected, status):
        counts = tabs_of(client, status=status, **query)

        assert {label: count for label, count in counts.items() if count != "0"} == expected

    @pytest.mark.parametrize("query", [{}, {"q": ADA}, {"span": "hour"}, {"when": "finished", "span": "hour"}], ids=str)
    def test_count_to_ten_thousand_and_no_further(self, client, monkeypatch, query):
        assert matches.MOST == 10_000
        monkeypatch.setattr(matches, "MOST", 60)
        monkeypatch.setattr("brevo_events.admin.changelist.MOST", 60)
        row = Event("viewed", ADA)
        done = {"status": Status.SENT, "due_at": None}
        OutboxEvent.objects.bulk_create(OutboxEvent.of(row) for _ in range(70))
        OutboxEvent.objects.update(**done, finished_at=UtcNow())

        page = text_of(client.get(LIST, query))

        assert tabs_of(client, **query)["All"] == "60+"
        assert tabs_of(client, **query)["Accepted"] == "60+"
        assert "10,000+ events" in page
        assert "p=2" in page
        assert "p=3" not in page
        assert client.get(LIST, {**query, "p": "2"}).context["rows"]

    def test_are_exact_below_that(self, client):
        OutboxEvent.objects.bulk_create(OutboxEvent.of(Event("viewed", ADA)) for _ in range(70))

        assert tabs_of(client)["All"] == "70"
        assert "70 events" in text_of(client.get(LIST))

    def test_lead_to_each_other_with_the_filters_kept(self, client, events):
        query = {"name": "viewed", "response": "4", "when": "finished", "span": "month", "q": "failed@example.com"}

        links = {tab.label: tab.link for tab in client.get(LIST, query).context["tabs"]}

        assert set(links["Failed"][1:].split("&")) == {
            "status=failed",
            "name=viewed",
            "response=4",
            "when=finished",
            "span=month",
            "q=failed%40example.com",
        }
        assert client.get(LIST + links["Failed"]).context["tabs"][3].is_current

    def test_that_does_not_exist_leads_to_the_first_page(self, client, events):
        assert client.get(LIST, {"p": "77"}).status_code == 302


@pytest.mark.django_db
class FilterTests:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"name": "bought"}, [BOB]),
            ({"name": "Bought"}, []),
            ({"name": "bought\0"}, [BOB]),
            ({"name": "\0"}, [EVE, BOB, ADA]),
            ({"response": "2"}, [ADA]),
            ({"response": "4"}, [BOB]),
            ({"response": "5"}, []),
            ({"response": "none"}, [EVE]),
            ({"response": "9"}, [EVE, BOB, ADA]),
            ({"status": "failed", "response": "2"}, []),
            ({"status": "waiting", "name": "viewed"}, [EVE]),
            ({"status": "waiting", "response": "4"}, []),
        ],
        ids=str,
    )
    def test_choose(self, client, query, expected):
        ended(ADA, Status.SENT, response_code=204)
        ended(BOB, Status.FAILED, "bought", response_code=499)
        track("viewed", EVE)

        assert listed(client, **query) == expected

    @pytest.mark.parametrize(("code", "lookup"), [(200, "2"), (299, "2"), (302, "3"), (400, "4"), (599, "5")])
    def test_of_answers_go_by_their_class(self, client, code, lookup):
        ended(ADA, response_code=code)

        assert [given for given in "2345" if listed(client, response=given)] == [lookup]

    def options(self, page):
        return re.findall(
            '<option value="(.*?)"', re.search('<select id="brevo-name" name="name">.*?</select>', page, re.DOTALL)[0]
        )

    def test_offer_the_names_that_there_are_once_each(self, client):
        for name in ("viewed", "bought", "viewed", "Viewed", "<i>"):
            track(name, ADA)

        assert self.options(text_of(client.get(LIST))) == ["", "&lt;i&gt;", "Viewed", "bought", "viewed"]

    def test_offer_no_more_names_than_fit_a_page(self, client):
        for number in range(35):
            track(f"event {number}", ADA)

        assert len(self.options(text_of(client.get(LIST)))) == 31

    def test_offer_the_name_that_is_asked_for_too(self, client, monkeypatch):
        monkeypatch.setattr("brevo_events.admin.listing.NAMED", 1)
        ended(ADA, Status.FAILED, "bought")
        ended(ADA)

        assert set(self.options(text_of(client.get(LIST, {"name": "bought"})))) == {"", "viewed", "bought"}

    @pytest.mark.parametrize("query", [{"name": "viewed"}, {"response": "2"}], ids=str)
    def test_look_through_the_newest_events_only_and_say_so(self, client, monkeypatch, query):
        monkeypatch.setattr(matches, "NEWEST", 2)
        for email in (ADA, BOB, EVE):
            ended(email, response_code=204)

        assert listed(client, **query) == [EVE, BOB]
        assert tabs_of(client, **query)["All"] == "2+"
        assert listed(client, **query, q=ADA) == [ADA]
        assert "Only the newest 2 events of this tab are searched." in text_of(client.get(LIST, query))
        assert "are searched" not in text_of(client.get(LIST))

    def test_look_through_the_newest_of_a_status(self, client, monkeypatch):
        monkeypatch.setattr(matches, "NEWEST_OF_STATUS", 2)
        for number, email in enumerate((ADA, BOB, EVE)):
            ended(email, Status.FAILED, response_code=400, finished_at=in_seconds(number - 100))
        for _ in range(5):
            ended("someone@example.com", Status.SENT, response_code=204)

        # The third is where they end: others that ended at the same moment belong to it.
        assert listed(client, status="failed", name="viewed") == [EVE, BOB, ADA]
        ended("new@example.com", Status.FAILED, response_code=400)
        assert listed(client, status="failed", response="4") == ["new@example.com", EVE, BOB]
        assert tabs_of(client, status="failed", response="4")["Failed"] == "3+"

    def test_look_through_what_is_due_first(self, client, monkeypatch):
        monkeypatch.setattr(matches, "NEWEST_OF_STATUS", 2)
        for number, email in enumerate((ADA, BOB, EVE)):
            captured(email, timezone.now(), due_at=in_seconds(number))

        assert listed(client, status="waiting", name="viewed") == [ADA, BOB]
        assert tabs_of(client, status="waiting", name="viewed")["Waiting"] == "2+"

    def test_of_a_small_outbox_look_through_all(self, client):
        ended(ADA, response_code=204)

        assert "are searched" not in text_of(client.get(LIST, {"name": "viewed"}))

    def test_can_be_cleared_where_there_are_some(self, client):
        ended(ADA)

        assert "Clear filters" not in text_of(client.get(LIST, {"status": "failed"}))
        page = text_of(client.get(LIST, {"status": "failed", "name": "viewed", "q": ADA}))
        assert '<a href="?status=failed">Clear filters</a>' in page


def failed(email, message, **more):
    """Make an event that Brevo refused with a message."""
    event = ended(email, Status.FAILED, more.pop("name", "viewed"), response_code=400, **more)
    answer = Answer(400, f'{{"code": "invalid_parameter", "message": "{message}"}}')
    attempt(event, response_code=400, error=answer.code, answer=answer.body)
    OutboxEvent.objects.filter(pk=event.pk).update(failure=answer.fingerprint, failed_at=F("finished_at"))
    return answer.fingerprint


@pytest.mark.django_db
class FailureTests:
    @pytest.fixture
    def blocked(self, client):
        """A group of three failures, and one of another group."""
        blocked = failed(ADA, "Contact ada@example.com is blocklisted", finished_at=in_seconds(-30))
        failed(BOB, "Contact bob@example.com is blocklisted", name="bought", finished_at=in_seconds(-10))
        failed(EVE, "Contact eve@example.com is blocklisted", finished_at=in_seconds(-20))
        failed("fay@example.com", "out of range")
        return blocked

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({}, [BOB, EVE, ADA]),
            ({"status": "failed"}, [BOB, EVE, ADA]),
            ({"status": "sent"}, []),
            ({"name": "viewed"}, [EVE, ADA]),
            ({"response": "5"}, []),
            ({"span": "hour"}, [BOB, EVE, ADA]),
            ({"when": "finished", "to": "2020-01-01T00:00"}, []),
            ({"q": EVE}, [EVE]),
            ({"q": "fay@example.com"}, []),
        ],
        ids=str,
    )
    def test_are_shown_as_a_group_that_failed_last_first(self, client, blocked, query, expected):
        assert listed(client, failure=blocked, **query) == expected
        assert tabs_of(client, failure=blocked, **query)["Failed"] == str(len(expected) if "status" not in query else 3)

    def test_of_none_are_none(self, client, blocked):
        assert listed(client, failure="nonsense\0") == []

    def test_of_a_group_stay_chosen_on_the_page(self, client, blocked):
        page = text_of(client.get(LIST, {"failure": blocked}))

        assert f'<input type="hidden" name="failure" value="{blocked}">' in page
        assert f'href="?status=failed&amp;failure={blocked}"' in page
        assert "Resend all 3 failed…" in page

    def test_of_a_group_are_named_by_brevos_words_and_can_be_left(self, client, blocked):
        page = text_of(client.get(LIST, {"failure": blocked, "name": "viewed"}))

        (chip,) = re.findall('<p class="brevo-chip">(.*?)</p>', page)
        assert re.sub("<.*?>", "", chip) == "Failure: 400 Contact …@… is blocklisted Remove"
        assert 'href="?name=viewed"' in chip
        assert "brevo-chip" not in text_of(client.get(LIST, {"name": "viewed"}))

    def test_of_a_group_are_named_by_their_code_to_those_who_may_not_see_contacts(self, client, blocked):
        page = text_of(staff("view_outboxevent").get(LIST, {"failure": blocked}))

        assert "Failure: <bdi>400</bdi>" in page
        assert "blocklisted" not in page

    def test_of_a_large_group_are_the_newest(self, client, blocked, monkeypatch):
        monkeypatch.setattr(matches, "MOST", 1)

        page = client.get(LIST, {"failure": blocked})

        assert "Only the newest 1 of these failures are searched." in text_of(page)
        assert tabs_of(client, failure=blocked)["Failed"] == "1+"

    def test_of_a_group_that_are_tried_again_are_waiting(self, client, blocked):
        waiting = track("viewed", "kim@example.com")
        OutboxEvent.objects.filter(pk=waiting.pk).update(failure=blocked, failed_at=UtcNow())

        assert listed(client, failure=blocked, status="waiting") == ["kim@example.com"]


@pytest.mark.django_db
class SlowestTests:
    def test_of_a_name_in_a_span_is_named(self, client):
        noon = local("2026-03-01T12:00")
        for seconds, name in ((5, "viewed"), (252, "viewed"), (11, "viewed"), (900, "bought")):
            moments = {"created_at": noon, "finished_at": noon + dt.timedelta(seconds=seconds)}
            ended(f"{seconds}@example.com", Status.SENT, name, **moments)
        ended(ADA, Status.FAILED, created_at=noon, finished_at=noon + dt.timedelta(hours=1))
        slowest = OutboxEvent.objects.get(email="252@example.com")
        query = {"name": "viewed", "from": "2026-03-01T00:00", "to": "2026-03-02T00:00"}

        page = text_of(client.get(LIST, query))

        (said,) = re.findall('<p class="brevo-finding" role="status">(.*?)</p>', page)
        assert re.sub("<.*?>", "", said) == f"Slowest: viewed #{slowest.pk}, accepted 4 min 12 s after its capture."
        assert f'href="{page_of(slowest)}"' in said
        assert "Slowest:" not in text_of(client.get(LIST, {**query, "status": "failed"}))
        assert "Slowest:" not in text_of(client.get(LIST, {"name": "viewed"}))


@pytest.mark.django_db
class SpanTests:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"from": "2026-03-01T14:00", "to": "2026-03-01T16:00"}, [EVE, BOB]),
            ({"from": "2026-03-01T14:00"}, ["fay@example.com", EVE, BOB]),
            ({"to": "2026-03-01T14:00"}, [ADA]),
            ({"from": "2026-03-01T15:59:59.5", "to": "2026-03-01T16:00"}, []),
            ({"from": "2026-03-01T16:00", "to": "2026-03-01T14:00"}, []),
            ({"from": "yesterday", "to": "2026-99-01T14:00"}, ["fay@example.com", EVE, BOB, ADA]),
            ({"from": "0001-01-01T00:00", "to": "9999-12-31T23:59"}, ["fay@example.com", EVE, BOB, ADA]),
            ({"from": "2026-03-01T14:00", "to": "2026-03-01T16:00", "name": "bought"}, [EVE]),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("when", ["captured", "finished"])
    def test_choose_what_was_captured_or_ended_between_two_moments(self, client, when, query, expected):
        for email, at in ((ADA, "13:59:59"), (BOB, "14:00"), (EVE, "15:59"), ("fay@example.com", "16:00")):
            moment = local(f"2026-03-01T{at}")
            other = local("2026-02-01T15:00")
            moments = {"created_at": moment, "finished_at": other}
            if when == "finished":
                moments = {"created_at": other, "finished_at": moment}
            ended(email, Status.FAILED, "bought" if email == EVE else "viewed", **moments)

        assert listed(client, **query, when=when) == expected
        assert listed(client, **query, when=when, status="failed") == expected
        assert listed(client, **query, when=when, status="sent") == []
        assert sorted(listed(client, **query, when=when, q=EVE)) == [email for email in expected if email == EVE]

    def test_hold_in_the_fields_what_was_asked(self, client):
        page = text_of(client.get(LIST, {"from": "2026-03-01T14:00", "to": "2026-03-01T16:00", "when": "finished"}))

        assert '<input type="datetime-local" name="from" value="2026-03-01T14:00">' in page
        assert '<input type="datetime-local" name="to" value="2026-03-01T16:00">' in page
        assert '<option value="finished" selected>' in page
        assert "Times are in Europe/Paris." in page

    @pytest.mark.parametrize(
        ("preset", "expected"),
        [
            ("hour", ["now"]),
            ("today", ["morning", "now"]),
            ("yesterday", ["yesterday"]),
            ("week", ["week", "yesterday", "morning", "now"]),
            ("month", ["month", "week", "yesterday", "morning", "now"]),
            ("nonsense", ["year", "month", "week", "yesterday", "morning", "now"]),
        ],
    )
    def test_have_names(self, client, monkeypatch, preset, expected):
        now = local("2026-11-24T15:00")
        monkeypatch.setattr("django.utils.timezone.now", lambda: now)
        for name, at in (
            ("year", "2025-11-24T15:00"),
            ("month", "2026-10-30T15:00"),
            ("week", "2026-11-18T15:00"),
            ("yesterday", "2026-11-23T23:59:59"),
            ("morning", "2026-11-24T00:00"),
            ("now", "2026-11-24T14:30"),
        ):
            captured(f"{name}@example.com", local(at))

        assert listed(client, span=preset) == [f"{name}@example.com" for name in reversed(expected)]

    def test_find_what_was_captured_before_it_was_inserted(self, client):
        captured(ADA, timezone.now())
        captured(BOB, local("2026-03-01T12:00"))

        assert listed(client, **{"from": "2026-03-01T11:00", "to": "2026-03-01T13:00"}) == [BOB]

    def test_with_a_name_win_over_the_fields(self, client):
        captured(ADA, timezone.now())

        response = client.get(LIST, {"span": "hour", "from": "2020-01-01T00:00", "to": "2020-01-01T00:00"})

        assert response.context["rows"]
        assert "from=" not in response.context["tabs"][1].link

    def test_show_waiting_events_by_their_capture_only(self, client):
        captured(ADA, timezone.now())

        assert listed(client, span="hour", status="waiting") == [ADA]
        assert listed(client, span="hour", status="waiting", when="finished") == []

    def test_of_very_many_are_of_the_newest_and_say_so(self, client, monkeypatch):
        monkeypatch.setattr(matches, "NEWEST", 2)
        for email in (ADA, BOB, EVE):
            captured(email, timezone.now())

        # The third is where they begin: others that were captured at the same moment belong to it.
        captured("fay@example.com", timezone.now())
        assert listed(client, span="hour") == ["fay@example.com", EVE, BOB]
        assert tabs_of(client, span="hour")["Waiting"] == "3+"
        assert "Only the newest 2 events of this span are searched." in text_of(client.get(LIST, {"span": "hour"}))

    @pytest.mark.parametrize("shift", [-50, 50])
    def test_find_what_was_committed_out_of_order(self, client, shift):
        start = local("2026-03-01T12:00")
        for minute in range(20):
            captured(f"{minute}@example.com", start + minute * MINUTE)
        late = captured(ADA, start + 10 * MINUTE + dt.timedelta(seconds=1))
        OutboxEvent.objects.filter(email="11@example.com").update(
            created_at=start + 10 * MINUTE + dt.timedelta(seconds=shift)
        )

        found = listed(client, **{"from": "2026-03-01T12:10", "to": "2026-03-01T12:11"})

        assert ("11@example.com" in found) is (shift > 0)
        assert "10@example.com" in found
        assert late.pk

    def test_of_the_future_and_of_an_empty_outbox_show_nothing(self, client):
        assert listed(client, **{"from": "2020-03-01T12:10"}) == []
        captured(ADA, timezone.now())

        assert listed(client, **{"from": "2999-03-01T12:10"}) == []
        assert listed(client, to="2020-03-01T12:10") == []


@pytest.mark.django_db
class OrderTests:
    def test_is_that_of_the_capture(self, client):
        for email in (ADA, BOB, EVE):
            track("viewed", email)

        assert listed(client) == [EVE, BOB, ADA]

    @pytest.mark.parametrize("order", ["1", "-2", "7.-1", "99", "x"])
    def test_stays_whatever_is_asked_for(self, client, order):
        for email in (BOB, ADA, EVE):
            track("viewed", email)

        assert listed(client, o=order) == [EVE, ADA, BOB]

    def test_of_what_has_ended_is_that_of_the_end(self, client):
        ended(ADA, Status.FAILED, finished_at=in_seconds(-10))
        ended(BOB, Status.FAILED, finished_at=in_seconds(-30))
        ended(EVE, Status.FAILED, finished_at=in_seconds(-20))

        assert listed(client, status="failed") == [ADA, EVE, BOB]
        assert listed(client, when="finished", span="hour") == [ADA, EVE, BOB]

    def test_of_what_waits_is_that_in_which_it_is_sent(self, client):
        for email, seconds in ((BOB, 20), (ADA, 10), (EVE, 30)):
            captured(email, timezone.now(), due_at=in_seconds(seconds))

        assert listed(client, status="waiting") == [ADA, BOB, EVE]


@pytest.mark.django_db
class SearchTests:
    @pytest.mark.parametrize(
        ("term", "expected"),
        [
            (ADA, [ADA]),
            ("ADA@Example.COM", [ADA]),
            (f"  {ADA} ", [ADA]),
            ("ada", []),
            ("da@example.com", []),
            ("%@example.com", []),
            ("cart:1", [BOB, ADA]),
            ("cart:1\0", [EVE, BOB, ADA]),  # Django empties the field, and says why
            ("cart", []),
            ("1234", [EVE]),
            ("%", []),
            ("_", []),
            ("\0", [EVE, BOB, ADA]),
            ("", [EVE, BOB, ADA]),
            ("' OR 1=1 --", []),
            ('"cart', []),
            ("9" * 18, []),
            ("9" * 19, []),
            ("9" * 5000, []),
            ("-1", []),
            ("²", []),
            ("٣" * 10, []),
            ("@", []),
            ("#", []),
            ("##1", []),
            ("#²", []),
            ("#" + "9" * 30, []),
            ("é" * 300 + "@" + "é" * 300, []),
            ("🎁", []),
        ],
        ids=lambda value: ascii(value)[:30] if isinstance(value, str) else "",
    )
    def test_finds_by_whole_values_and_takes_odd_ones(self, client, term, expected):
        track("viewed", ADA, object_id="cart:1")
        track("viewed", BOB, object_id="cart:1")
        track("viewed", EVE, object_id="1234")

        assert listed(client, q=term) == expected

    def test_finds_an_address_that_was_captured_in_capitals(self, client):
        track("viewed", "Ada@Example.com")

        assert listed(client, q=ADA) == ["Ada@Example.com"]

    def test_finds_an_object_whose_id_is_an_address(self, client):
        track("viewed", ADA, object_id=f"user:{BOB}")
        track("viewed", BOB, object_id=BOB)
        track("viewed", EVE, object_id=BOB)

        assert listed(client, q=f"user:{BOB}") == [ADA]
        assert listed(client, q=BOB) == [EVE, BOB]

    @pytest.mark.parametrize("written", ["%d", "#%d", " #%d "])
    def test_finds_by_the_id_of_an_event(self, client, written):
        events = [track("viewed", email) for email in (ADA, BOB)]

        assert listed(client, q=written % events[1].pk) == [BOB]

    def test_takes_a_hash_for_the_sign_of_an_id_and_of_nothing_else(self, client):
        event = track("viewed", ADA)
        track("viewed", BOB, object_id=f"#{event.pk}")

        assert listed(client, q=f"#{event.pk}") == [ADA]

    def test_finds_by_an_idempotency_key(self, client):
        track("viewed", ADA, idempotency_key="signup:77")
        track("viewed", BOB, idempotency_key="signup:78")
        track("viewed", EVE, idempotency_key="signup@78")

        assert listed(client, q="signup:78") == [BOB]
        assert listed(client, q="signup@78") == [EVE]

    @pytest.mark.parametrize("status", ["", "sent"])
    def test_finds_by_the_number_of_an_order_with_all_of_its_cart(self, client, status):
        cart = {"cart_id": 1, "currency": "EUR", "items": [{"name": "Mug", "price": 3, "quantity": 1}]}
        events = [
            track(commerce.cart_updated(ADA, **cart)),
            track("viewed", ADA, object_id="cart:2"),
            track("viewed", BOB, object_id="cart:1"),
            track(commerce.order_completed(ADA, order_id="2026-101249", **cart)),
        ]
        moment = local("2026-03-01T13:00")
        for number, event in enumerate(events):
            at = moment + number * dt.timedelta(seconds=227)
            done = {"status": Status.SENT, "reason": "", "due_at": None, "finished_at": at}
            OutboxEvent.objects.filter(pk=event.pk).update(**done)

        response = client.get(LIST, {"q": "2026-101249", "status": status})

        assert [row.event.name for row in response.context["rows"]] == ["order_completed", "cart_updated"]
        order, cart = (f"{events[place].name} #{events[place].pk}" for place in (3, 0))
        assert f"Brevo accepted {order} on March 1, 2026 at 13:11:21, 11 min 21 s after {cart}." in text_of(response)

    @pytest.mark.parametrize("term", [ADA, "cart:1"])
    def test_goes_together_with_a_filter(self, client, term):
        ended(ADA, Status.FAILED, "a", object_id="cart:1")
        ended(ADA, Status.FAILED, "c", object_id="cart:1")
        ended(ADA, Status.FAILED, "b", object_id="cart:1")
        ended(ADA, Status.SENT, "d", object_id="cart:1")

        response = client.get(LIST, {"q": term, "status": "failed"})

        assert [row.event.name for row in response.context["rows"]] == ["b", "c", "a"]


@pytest.mark.django_db
class NothingTests:
    def said(self, client, **query):
        page = text_of(client.get(LIST, query))
        section = re.search('<div class="brevo-nothing">(.*?)</div>', page, re.DOTALL)[1]
        return " ".join(re.sub("<.*?>", " ", section).split())

    def test_says_how_the_first_event_is_made(self, client):
        said = "No event yet. This makes the first one: manage.py brevo_events_doctor you@example.com"
        assert self.said(client) == said

    def test_says_how_long_events_are_kept_where_a_search_finds_none(self, client, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker", "RETENTION_DAYS": 20, "FAILED_RETENTION_DAYS": 45.5}
        ended(ADA)

        assert self.said(client, q="nobody@example.com") == (
            "No event of “nobody@example.com” is kept. "
            "Events are kept for 20 days after their end, failed ones for 45.5."
        )

    def test_leads_to_the_events_of_a_name_that_was_searched_for(self, client):
        ended(ADA)

        assert self.said(client, q="viewed") == "“viewed” is the name of events. Show events with this name"
        assert '<a href="?name=viewed">' in text_of(client.get(LIST, {"q": "viewed"}))

    @pytest.mark.parametrize(
        ("status", "text"),
        [
            ("waiting", "No event is waiting."),
            ("sent", "No event has been accepted yet."),
            ("superseded", "No event was replaced by a newer one."),
            ("cancelled", "No event was cancelled."),
        ],
    )
    def test_of_a_tab_leads_to_all(self, client, status, text):
        ended(ADA)

        assert self.said(client, status=status) == f"{text} Show 1 event of another status"
        narrowed = self.said(client, status=status, q=ADA)
        assert narrowed == "No event of this status matches. Show 1 event of another status"
        assert '<a href="?q=ada%40example.com">' in text_of(client.get(LIST, {"status": status, "q": ADA}))

    def test_of_a_filter_can_be_cleared(self, client):
        ended(ADA)

        assert self.said(client, name="bought").startswith("No event matches. Events are kept for 30 days")


@pytest.mark.django_db
class AllThatMatchTests:
    def buttons(self, client, **query):
        return {bulk.label: (bulk.action, bulk.link) for bulk in client.get(LIST, query).context["bulks"]}

    def test_can_be_resent_from_each_tab_of_what_has_ended(self, client):
        for email in (ADA, BOB):
            ended(email)
        ended(EVE, Status.SENT)

        assert self.buttons(client) == {"Resend all 2 failed…": ("resend", "?status=failed")}
        assert self.buttons(client, q=ADA, status="failed") == {
            "Resend 1 failed event…": ("resend", "?status=failed&q=ada%40example.com")
        }
        assert self.buttons(client, status="sent") == {"Resend 1 event…": ("resend", "?status=sent")}
        assert self.buttons(client, status="cancelled") == {}

    def test_can_be_cancelled_while_they_wait(self, client):
        for email in (ADA, BOB):
            track("viewed", email)

        assert self.buttons(client, status="waiting") == {"Cancel all 2 waiting…": ("cancel", "?status=waiting")}

    def test_says_that_it_takes_the_newest_of_more(self, client, monkeypatch):
        monkeypatch.setattr(matches, "MOST", 2)
        monkeypatch.setattr("brevo_events.admin.listing.MOST", 2)
        for email in (ADA, BOB, EVE):
            ended(email)
            track("viewed", email)

        assert list(self.buttons(client, status="failed")) == ["Resend the newest 2…"]
        assert list(self.buttons(client, status="waiting")) == ["Cancel the first 2…"]

    def test_are_asked_about_exactly_as_they_match(self, client):
        inside = [ended(email, created_at=local("2026-03-01T15:00")) for email in (ADA, BOB)]
        ended(EVE, created_at=local("2026-03-01T17:00"))
        ended(EVE, Status.SENT, created_at=local("2026-03-01T15:00"))
        query = {"from": "2026-03-01T14:00", "to": "2026-03-01T16:00"}
        page = text_of(client.get(LIST, query))
        form = re.search(r'<form method="post" action="(\?[^"]*)">(.*?)</form>', page, re.DOTALL)
        fields = dict(re.findall('<input type="hidden" name="(.*?)" value="(.*?)">', form[2]))

        asked = client.post(LIST + form[1].replace("&amp;", "&"), fields)

        assert facts_of(asked)[0].startswith("2 events will be resent")
        assert can_be_confirmed(asked)
        assert hidden(asked, "pks") == pks_of(inside[::-1])

    @pytest.mark.parametrize(("permission", "count"), [("resend_outboxevent", 1), ("cancel_outboxevent", 0)])
    def test_need_the_permission_of_the_action(self, permission, count):
        ended(ADA)

        assert len(self.buttons(staff("view_outboxevent", permission))) == count

    def test_need_it_whatever_is_posted(self):
        ended(ADA)
        form = {"action": "resend", "index": "0", "select_across": "1", "_selected_action": "all"}

        response = staff("view_outboxevent").post(f"{LIST}?status=failed", form)

        assert not can_be_confirmed(response) if response.status_code == 200 else response.status_code in (302, 403)
        assert OutboxEvent.objects.get().status == Status.FAILED
