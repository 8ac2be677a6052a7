from __future__ import annotations

import datetime as dt
import re

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape

from brevo_events import Event, track
from brevo_events.columns import in_seconds
from brevo_events.models import OutboxEvent, Status
from tests.browsing import (
    ACTIONS,
    ADA,
    BOB,
    EVE,
    LIST,
    address_of,
    ask,
    attempt,
    confirm,
    ended,
    messages_of,
    page_of,
    root,
    selected,
    staff,
    text_of,
)
from tests.shop.models import Cart

MARKUP = """"'><pwned>${alert(1)}</pwned><script>alert(1)</script>"""


@pytest.fixture(autouse=True)
def _by_hand(settings):
    settings.BREVO_EVENTS = {"ENGINE": "worker"}
    cache.clear()


@pytest.fixture
def client(db):
    return root()


@pytest.fixture
def viewer(db):
    return staff("view_outboxevent")


def listed(client, **query):
    """Return the addresses of the listed events, in their order."""
    response = client.get(LIST, query)
    assert response.status_code == 200, response
    return [event.email for event in response.context["cl"].result_list]


def moments_of(page):
    """Return the lines of the timeline, each without its time."""
    timeline = re.search('<ol class="brevo-timeline">(.*?)</ol>', page, re.DOTALL)[1]
    return [without_tags(re.sub("<time.*?</time>", "", line)) for line in timeline.split("</li>")[:-1]]


def without_tags(markup):
    return " ".join(re.sub("<.*?>", " ", markup).split())


@pytest.mark.django_db
class ListTests:
    @pytest.mark.parametrize("status", Status)
    def test_shows_the_word_of_the_status_with_its_class(self, client, status):
        ended(ADA, status)

        assert f'<span class="brevo-status brevo-status-{status}">{status.label}</span>' in text_of(client.get(LIST))

    def test_shows_why_an_event_ended(self, client):
        ended(ADA, Status.FAILED, reason="gave_up")

        assert "Gave up after too many attempts" in text_of(client.get(LIST))

    def test_shows_event_contact_answer_attempts_and_times(self, client):
        moment = dt.datetime(2026, 3, 1, 11, 5, tzinfo=dt.UTC)
        ended(ADA, Status.PENDING, response_code=503, created_at=moment, due_at=moment + dt.timedelta(hours=3))

        cells = dict(re.findall(r'class="field-(\w+)[^"]*">(.*?)</t[dh]>', text_of(client.get(LIST))))
        assert re.sub("<.*?>", "", cells["name"]) == "viewed"
        assert cells["email"] == ADA
        assert cells["response_code"] == "503"
        assert cells["attempts"] == "3"
        assert cells["created_at"] == "March 1, 2026, 12:05 p.m."
        assert cells["next_attempt"] == "March 1, 2026, 3:05 p.m."

    def test_shows_no_next_attempt_of_what_has_ended(self, client):
        ended(ADA, Status.SENT)

        assert '<td class="field-next_attempt">–</td>' in text_of(client.get(LIST))

    def test_shows_the_newest_first(self, client):
        for email in (ADA, BOB, EVE):
            track("viewed", email)

        assert listed(client) == [EVE, BOB, ADA]

    @pytest.mark.parametrize("order", ["1", "-2", "7.-1", "99", "x"])
    def test_keeps_that_order_whatever_is_asked_for(self, client, order):
        for email in (BOB, ADA, EVE):
            track("viewed", email)

        assert listed(client, o=order) == [EVE, ADA, BOB]

    def test_has_its_own_colours(self, client):
        assert 'href="/static/brevo_events/admin.css"' in text_of(client.get(LIST))

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


@pytest.mark.django_db
class FilterTests:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"status": "failed"}, [BOB]),
            ({"name": "bought"}, [BOB]),
            ({"name": "Bought"}, []),
            ({"name": "bought\0"}, [BOB]),
            ({"name": "\0"}, [EVE, BOB, ADA]),
            ({"response": "2"}, [ADA]),
            ({"response": "4"}, [BOB]),
            ({"response": "5"}, []),
            ({"response": "none"}, [EVE]),
            ({"response": "9"}, [EVE, BOB, ADA]),
            ({"status": "pending"}, [EVE]),
            ({"status": "sending"}, []),
            ({"status": "nonsense"}, [EVE, BOB, ADA]),
            ({"ended": "1"}, [BOB]),
            ({"ended": "7"}, [BOB, ADA]),
            ({"ended": "x"}, [EVE, BOB, ADA]),
            ({"status": "failed", "response": "2"}, []),
        ],
        ids=str,
    )
    def test_choose(self, client, query, expected):
        ended(ADA, Status.SENT, response_code=204, finished_at=in_seconds(-3 * 24 * 3600))
        ended(BOB, Status.FAILED, "bought", response_code=499, finished_at=in_seconds(-3600))
        track("viewed", EVE)

        assert listed(client, **query) == expected

    @pytest.mark.parametrize(("code", "lookup"), [(200, "2"), (299, "2"), (302, "3"), (400, "4"), (599, "5")])
    def test_of_answers_go_by_their_class(self, client, code, lookup):
        ended(ADA, response_code=code)

        assert [given for given in "2345" if listed(client, response=given)] == [lookup]

    def test_offer_the_names_that_there_are_once_each(self, client):
        for name in ("viewed", "bought", "viewed", "Viewed", "<i>"):
            track(name, ADA)

        page = text_of(client.get(LIST))
        assert sorted(re.findall(r'href="\?name=([^"]*)"', page)) == ["%3Ci%3E", "Viewed", "bought", "viewed"]

    def test_offer_no_more_names_than_fit_a_page(self, client):
        for number in range(35):
            track(f"event {number}", ADA)

        assert len(re.findall(r'href="\?name=', text_of(client.get(LIST)))) == 30

    @pytest.mark.parametrize(
        ("name", "query"),
        [("event", {"name": "viewed"}), ("response code", {"response": "2"}), ("ended", {"ended": "1"})],
    )
    def test_look_through_the_newest_events_only_and_say_so(self, client, monkeypatch, name, query):
        monkeypatch.setattr("brevo_events.admin.filters.NEWEST", 2)
        for email in (ADA, BOB, EVE):
            ended(email, response_code=204)

        assert listed(client, **query) == [EVE, BOB]
        assert listed(client, **query, q=ADA) == [ADA]
        assert f"{name}, of the newest 2" in text_of(client.get(LIST, query))
        assert "of the newest" not in text_of(client.get(LIST))

    def test_look_through_the_newest_of_a_status_where_one_is_chosen(self, client, monkeypatch):
        monkeypatch.setattr("brevo_events.admin.filters.NEWEST_OF_STATUS", 2)
        for number, email in enumerate((ADA, BOB, EVE)):
            ended(email, Status.FAILED, response_code=400, finished_at=in_seconds(number - 100))
        for _ in range(5):
            ended("someone@example.com", Status.SENT, response_code=204)
        for email in (ADA, BOB, EVE):
            track("viewed", email)

        # The third is where they end: others that ended at the same moment belong to it.
        assert listed(client, status="failed", name="viewed") == [EVE, BOB, ADA]
        ended("new@example.com", Status.FAILED, response_code=400)
        assert listed(client, status="failed", response="4", ended="1") == ["new@example.com", EVE, BOB]
        assert listed(client, status="pending", name="viewed") == [EVE, BOB, ADA]

    def test_of_a_small_outbox_look_through_all(self, client):
        ended(ADA, response_code=204)

        assert "of the newest" not in text_of(client.get(LIST, {"name": "viewed"}))

    def test_offer_the_name_that_is_asked_for_too(self, client, monkeypatch):
        monkeypatch.setattr("brevo_events.admin.filters.NAMED", 1)
        ended(ADA, Status.FAILED, "bought")
        ended(ADA)

        page = text_of(client.get(LIST, {"name": "bought"}))

        assert set(re.findall(r'href="\?name=([^"&]*)"', page)) == {"viewed", "bought"}


@pytest.mark.django_db
class OrderTests:
    def test_of_one_status_is_that_of_the_end(self, client):
        ended(ADA, Status.FAILED, finished_at=in_seconds(-10))
        ended(BOB, Status.FAILED, finished_at=in_seconds(-30))
        ended(EVE, Status.FAILED, finished_at=in_seconds(-20))

        assert listed(client, status="failed") == [ADA, EVE, BOB]
        assert "field-finished_at" in text_of(client.get(LIST, {"status": "failed"}))
        assert "field-finished_at" not in text_of(client.get(LIST))

    def test_of_what_still_waits_is_that_of_the_capture(self, client):
        for email in (BOB, ADA):
            track("viewed", email)

        assert listed(client, status="pending") == [ADA, BOB]


@pytest.mark.django_db
class CountTests:
    def test_goes_to_ten_thousand_and_no_further(self, client, monkeypatch):
        monkeypatch.setattr("brevo_events.admin.changelist.MOST", 60)
        OutboxEvent.objects.bulk_create(OutboxEvent.of(Event("viewed", ADA)) for _ in range(70))

        page = text_of(client.get(LIST))

        assert "10,000+ events" in page
        assert "?p=2" in page
        assert "?p=3" not in page

    def test_is_exact_below_that(self, client):
        OutboxEvent.objects.bulk_create(OutboxEvent.of(Event("viewed", ADA)) for _ in range(70))

        page = text_of(client.get(LIST))

        assert "70 events" in page
        assert "10,000+" not in page

    def test_is_of_the_newest_in_whatever_order_is_asked_for(self, client):
        for email in (ADA, BOB):
            ended(email)

        assert listed(client, o="2") == [BOB, ADA]


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

    def test_finds_by_number(self, client):
        events = [track("viewed", email) for email in (ADA, BOB)]

        assert listed(client, q=str(events[1].pk)) == [BOB]

    @pytest.mark.parametrize("term", [ADA, "cart:1"])
    def test_goes_together_with_a_filter(self, client, term):
        ended(ADA, Status.FAILED, "a", object_id="cart:1")
        ended(ADA, Status.FAILED, "c", object_id="cart:1")
        ended(ADA, Status.FAILED, "b", object_id="cart:1")
        ended(ADA, Status.SENT, "d", object_id="cart:1")

        response = client.get(LIST, {"q": term, "status": "failed"})

        assert [event.name for event in response.context["cl"].result_list] == ["b", "c", "a"]


@pytest.mark.django_db
class PageTests:
    def test_shows_the_body_as_readable_json_to_copy(self, client):
        event = ended(ADA, object_id="cart:1", data={"name": "Émile", "items": [1]})

        page = text_of(client.get(page_of(event)))

        pre = re.search('<pre class="brevo-body" id="brevo-body"[^>]*>(.*?)</pre>', page, re.DOTALL)[1]
        assert pre.startswith("{\n  &quot;email&quot;: &quot;ada@example.com&quot;,\n")
        assert "&quot;name&quot;: &quot;Émile&quot;," in pre
        assert re.search('<button [^>]*data-copies="brevo-body"', page)

    def test_shows_the_command_line_of_the_request_without_the_key(self, client, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker", "MA_KEY": "k" * 24, "URL": "https://example.com/track"}
        event = ended(ADA, data={"name": "it's"})

        page = text_of(client.get(page_of(event)))

        command = re.search('<pre class="brevo-body" id="brevo-curl"[^>]*>(.*?)</pre>', page, re.DOTALL)[1]
        assert command.startswith("curl -X POST https://example.com/track \\\n")
        assert escape('-H "ma-key: $BREVO_MA_KEY"') in command
        assert escape("""it'"'"'s""") in command
        assert "k" * 24 not in page

    def test_can_be_read_only(self, client):
        page = text_of(client.get(page_of(ended(ADA))))

        assert not re.search(r'<(input|textarea|select)(?![^>]*(type="hidden"|searchbar))[^>]*name="(?!csrf)', page)
        assert 'name="_save"' not in page
        assert "deletelink" not in page
        assert f"{LIST}add/" not in page

    @pytest.mark.parametrize(
        ("code", "error", "shown"),
        [
            (204, "", "Request: 204 after 12 ms Brevo has taken the event."),
            (401, "unauthorized", "Request: 401 after 12 ms unauthorized Brevo does not know the ma-key."),
            (503, "", "Request: 503 after 12 ms Brevo had a problem of its own."),
            (None, "timeout", "Request: timeout after 12 ms Brevo did not answer in time."),
        ],
    )
    def test_says_of_each_answer_what_it_means(self, client, code, error, shown):
        event = ended(ADA)
        attempt(event, response_code=400)
        attempt(event, response_code=code, error=error)

        captured, first, second, end = moments_of(text_of(client.get(page_of(event))))
        assert (captured, end) == ("Captured", "Failed")
        assert first.startswith("Request: 400 after 12 ms Brevo refused the event")
        assert second.startswith(shown)

    @pytest.mark.parametrize(
        ("changes", "last"),
        [
            ({"status": "pending"}, ["Next attempt"]),
            ({"status": "pending", "parked": True}, ["Waits for an earlier event of the same contact."]),
            ({"status": "pending", "expires_at": dt.datetime(2030, 1, 1, tzinfo=dt.UTC)}, ["Next attempt", "Expires"]),
            (
                {"status": "sending"},
                ["Being sent. If its worker dies, it is due again at the time below.", "Due again"],
            ),
            ({"status": "sent", "expires_at": dt.datetime(2030, 1, 1, tzinfo=dt.UTC)}, ["Sent"]),
            ({"status": "failed", "reason": "gave_up"}, ["Failed: Gave up after too many attempts"]),
            ({"status": "cancelled", "reason": "operator"}, ["Cancelled: Cancelled by an operator"]),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
    )
    def test_says_what_comes_next_or_how_it_ended(self, client, changes, last):
        event = track("viewed", ADA)
        OutboxEvent.objects.filter(pk=event.pk).update(**changes)

        assert moments_of(text_of(client.get(page_of(event)))) == ["Captured", *last]

    def test_shows_the_attempts_in_their_order(self, client):
        event = ended(ADA)
        attempt(event, response_code=None, error="timeout", duration_ms=20001)
        attempt(event, response_code=400, error="out_of_range", answer='{"code": "x", "message": "Too far"}')
        attempt(ended(BOB), response_code=418)

        page = text_of(client.get(page_of(event)))
        assert "20001 ms" in moments_of(page)[1]
        assert "out_of_range: Too far" in moments_of(page)[2]
        assert "418" not in page

    def test_shows_the_newest_attempts_of_very_many(self, client):
        event = ended(ADA)
        for number in range(52):
            attempt(event, response_code=503, duration_ms=1000 + number)

        moments = moments_of(text_of(client.get(page_of(event))))

        assert moments[1] == "Only the newest 50 requests are shown."
        assert [moment.split()[3] for moment in moments[2:-1]] == [str(1000 + number) for number in range(2, 52)]

    def test_leads_to_the_newest_other_events_of_the_contact(self, client):
        others = [track("viewed", email, object_id="cart:1") for email in ["Ada@Example.com"] * 6 + [ADA] * 6]
        track("viewed", BOB)
        event = ended(ADA)

        page = text_of(client.get(page_of(event)))

        section = re.search('<ul class="brevo-others">(.*?)</ul>', page, re.DOTALL)[1]
        assert re.findall('href="([^"]*)"', section) == [page_of(other) for other in others[:1:-1]]

    def test_of_an_erased_event_shows_that_it_is_and_nothing_of_others(self, client):
        event, other = ended(ADA), ended(BOB)
        confirm(client, "erase", event)
        confirm(client, "erase", other)

        page = text_of(client.get(page_of(event)))

        assert "Erased with its contact." in page
        assert 'id="brevo-body"' not in page
        assert f'href="{page_of(other)}"' not in page
        assert address_of("erase") not in page
        assert address_of("resend") not in page

    @pytest.mark.parametrize(
        ("source", "shown"),
        [
            ("shop.cart:7", "Caused by a change of cart 7"),
            ("shop.cart:<i>", "Caused by a change of cart &lt;i&gt;"),
            ("gone.model:7", None),
            ("rubbish", None),
            ("", None),
        ],
    )
    def test_names_the_row_that_caused_the_event(self, client, source, shown):
        event = ended(ADA, source=source)

        found = re.search("Caused by a change of.*?</p>", text_of(client.get(page_of(event))))

        assert (without_tags(found[0]) if found else None) == shown

    @pytest.mark.parametrize(("permissions", "leads"), [(["view_user"], True), ([], False)])
    def test_leads_to_that_row_where_the_user_may_see_it(self, permissions, leads):
        browser, user = staff("view_outboxevent", *permissions), User.objects.create_user("ada")
        event, dangling = ended(ADA, source=f"auth.user:{user.pk}"), ended(ADA, source="auth.user:x")

        assert (f'<a href="/admin/auth/user/{user.pk}/change/">' in text_of(browser.get(page_of(event)))) is leads
        assert "/admin/auth/user/x/" not in text_of(browser.get(page_of(dangling)))

    def test_leads_to_a_row_whose_key_an_address_cannot_spell(self, client, settings):
        settings.ROOT_URLCONF = "tests.browsing"
        Session.objects.create(session_key="shirt_40", session_data="", expire_date=timezone.now())
        event = ended(ADA, source="sessions.session:shirt_40")
        page = text_of(client.get(page_of(event).replace("/admin/", "/staff/")))

        (link,) = re.findall(r'href="(/staff/sessions/session/[^"]*/change/)"', page)

        assert client.get(link).status_code == 200

    @pytest.mark.parametrize(("late", "title"), [(0, "Next attempt"), (60, "Due since then")])
    def test_does_not_call_next_what_is_overdue(self, client, late, title):
        event = track("viewed", ADA)
        OutboxEvent.objects.update(due_at=in_seconds(-late))

        assert moments_of(text_of(client.get(page_of(event))))[-1] == title

    def test_asks_the_database_as_often_for_many_attempts_and_other_events_as_for_few(self, client):
        event, counts = ended(ADA, source=f"shop.cart:{Cart.objects.create().pk}"), []
        client.get(page_of(event))
        for number in (1, 20):
            for _ in range(number):
                attempt(event, response_code=503)
                ended(ADA)
            with CaptureQueriesContext(connection) as queries:
                text_of(client.get(page_of(event)))
            counts.append(len(queries))

        assert counts[0] == counts[1]

    @pytest.mark.parametrize("key", ["0", "9" * 30, "abc", "%00", "1'", "_00"])
    def test_of_an_event_that_does_not_exist_leads_home(self, client, key):
        response = client.get(f"{LIST}{key}/change/")

        assert (response.status_code, response.url) == (302, "/admin/")


@pytest.mark.django_db
class NothingCanBeEditedTests:
    @pytest.mark.parametrize("method", ["get", "post"])
    @pytest.mark.parametrize("verb", ["add", "delete"])
    def test_not_even_by_a_superuser(self, client, method, verb):
        event = ended(ADA)
        url = f"{LIST}add/" if verb == "add" else f"{LIST}{event.pk}/delete/"

        response = getattr(client, method)(url, {"post": "yes", "name": "viewed", "email": BOB, "body": "{}"})

        assert response.status_code == 403
        assert OutboxEvent.objects.get() == event

    def test_not_by_a_post_to_the_page(self, client):
        event = ended(ADA)
        before = OutboxEvent.objects.values().get()

        response = client.post(page_of(event), {"name": "changed", "email": BOB, "status": "sent"})

        assert response.status_code == 403
        assert OutboxEvent.objects.values().get() == before

    def test_not_by_the_action_that_deletes(self, client):
        event = ended(ADA)

        client.post(LIST, {"action": "delete_selected", "_selected_action": [event.pk], "post": "yes"})

        assert OutboxEvent.objects.get() == event
        assert "delete_selected" not in text_of(client.get(LIST))


@pytest.mark.django_db
class MarkupTests:
    """What came from outside is text, wherever it is shown."""

    @pytest.fixture
    def event(self):
        address = f"{MARKUP}@example.com"
        event = ended(address, name=MARKUP, object_id=MARKUP, data={MARKUP: MARKUP}, source=f"shop.cart:{MARKUP}")
        ended(address, name=MARKUP, object_id=MARKUP)
        attempt(event, response_code=400, error=MARKUP, answer=f'{{"code": "x", "message": "{MARKUP[1:]}"}}')
        attempt(event, response_code=500, answer=MARKUP)
        attempt(event, error=MARKUP)
        return event

    def assert_is_text(self, response, least):
        page = text_of(response)
        assert "<pwned" not in page
        assert "<script>alert" not in page
        assert "\"'>" not in page
        assert page.count(escape(MARKUP[2:])) >= least

    def test_in_the_list(self, client, event):
        self.assert_is_text(client.get(LIST), least=5)  # name and address of two, and the filter

    def test_in_the_list_of_a_search_and_a_filter(self, client, event):
        self.assert_is_text(client.get(LIST, {"q": MARKUP, "name": MARKUP}), least=6)

    def test_on_the_page_of_an_event(self, client, event):
        # Title, path, heading, fields, answers, body, command line, source and the contact's other event.
        self.assert_is_text(client.get(page_of(event)), least=15)

    @pytest.mark.parametrize("action", ACTIONS)
    def test_where_an_action_asks(self, client, event, action):
        least = 1 if action == "erase" else 0
        self.assert_is_text(ask(client, action, event, back=f"/{MARKUP}"), least=least + 2)
        self.assert_is_text(client.post(f"{LIST}?q={MARKUP}", selected(action, event)), least=least)

    @pytest.mark.parametrize("action", ACTIONS)
    def test_after_an_action(self, client, event, action):
        track(MARKUP, f"{MARKUP}@example.com")

        response = confirm(client, action, event, back=LIST)

        assert messages_of(response)
        self.assert_is_text(response, least=1)

    def test_in_the_log_of_the_admin(self, client, event):
        confirm(client, "resend", event, include_outdated="on")

        self.assert_is_text(client.get("/admin/"), least=1)
        self.assert_is_text(client.get(f"{LIST}{event.pk}/history/"), least=2)

    def test_on_the_overview(self, client, event):
        OutboxEvent.objects.update(status=Status.FAILED, finished_at=event.created_at)

        self.assert_is_text(client.get(f"{LIST}overview/"), least=3)

    def test_where_addresses_are_masked(self, event):
        browser = staff("view_outboxevent", "erase_contact")
        OutboxEvent.objects.update(email="<@<script>alert(1)")

        for response in (browser.get(LIST), browser.get(page_of(event)), ask(browser, "erase", event)):
            self.assert_is_text(response, least=0)
            assert "&lt;…@&lt;…" in text_of(response)
