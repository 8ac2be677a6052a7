from __future__ import annotations

import datetime as dt
import re

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from django.utils.html import escape

from brevo_events import track
from brevo_events.admin import OutboxEventAdmin
from brevo_events.models import OutboxEvent, SendAttempt, Status
from brevo_events.transports import locmem

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"
LIST = "/admin/brevo_events/outboxevent/"

staff_site = admin.AdminSite(name="staff")
staff_site.register(OutboxEvent, OutboxEventAdmin)
urlpatterns = [path("admin/", admin.site.urls), path("staff/", staff_site.urls)]


@pytest.fixture(autouse=True)
def _by_hand(settings):
    settings.BREVO_EVENTS = {"ENGINE": "worker"}
    cache.clear()


@pytest.fixture
def client(db):
    """A browser in which a superuser is logged in."""
    return browser_of(User.objects.create_superuser("root"))


@pytest.fixture
def viewer(db):
    return staff("view_outboxevent")


@pytest.fixture
def resender(db):
    return staff("view_outboxevent", "resend_outboxevent")


def staff(*permissions):
    """Return a browser in which somebody with just these permissions is logged in."""
    user = User.objects.create_user("-".join(permissions) or "nobody", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    assert user.user_permissions.count() == len(permissions)
    return browser_of(user)


def browser_of(user, **options):
    browser = Client(**options)
    browser.force_login(user)
    return browser


def page_of(event):
    return f"{LIST}{event.pk}/change/"


def button_of(event):
    return f"{LIST}{event.pk}/resend/"


def ended(email, status=Status.FAILED, name="viewed", object_id=None, data=None, **more):
    event = track(name, email, object_id=object_id, data=data)
    OutboxEvent.objects.filter(pk=event.pk).update(**{"status": status, "due_at": None, "attempts": 3, **more})
    return OutboxEvent.objects.get(pk=event.pk)


def attempt(event, **more):
    values = {"started_at": event.created_at, "duration_ms": 12, **more}
    return SendAttempt.objects.create(event=event, **values)


def text_of(response):
    assert response.status_code == 200
    return response.content.decode()


def listed(client, **query):
    """Return the addresses of the listed events, in their order."""
    response = client.get(LIST, query)
    assert response.status_code == 200, response
    return [event.email for event in response.context["cl"].result_list]


def messages_of(response):
    return [str(message) for message in response.context["messages"]]


def resend_selected(client, *events, **more):
    chosen = {"action": "resend", "_selected_action": [event.pk for event in events], **more}
    return client.post(LIST, chosen, follow=True)


def status_of(event):
    return OutboxEvent.objects.get(pk=event.pk).status


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

    def test_escapes_what_came_from_outside(self, client):
        track("<script>alert(1)</script>", "<b>@example.com", object_id="<i>")

        page = text_of(client.get(LIST))
        assert "<script>alert" not in page
        assert "<b>@" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "&lt;b&gt;@example.com" in page


@pytest.mark.django_db
class FilterTests:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"status__exact": "failed"}, [BOB]),
            ({"name": "bought"}, [BOB]),
            ({"name": "Bought"}, []),
            ({"name": "bought\0"}, [BOB]),
            ({"name": "\0"}, [EVE, BOB, ADA]),
            ({"response": "2"}, [ADA]),
            ({"response": "4"}, [BOB]),
            ({"response": "5"}, []),
            ({"response": "none"}, [EVE]),
            ({"response": "9"}, [EVE, BOB, ADA]),
            ({"created_at__gte": "2026-03-02 00:00+00:00"}, [EVE, BOB]),
            ({"created_at__gte": "2026-03-02 00:00+00:00", "created_at__lt": "2026-03-03 00:00+00:00"}, [BOB]),
            ({"status__exact": "failed", "response": "2"}, []),
        ],
        ids=str,
    )
    def test_choose(self, client, query, expected):
        ended(ADA, Status.SENT, response_code=204, created_at=dt.datetime(2026, 3, 1, tzinfo=dt.UTC))
        ended(BOB, Status.FAILED, "bought", response_code=499, created_at=dt.datetime(2026, 3, 2, tzinfo=dt.UTC))
        ended(EVE, Status.PENDING, created_at=dt.datetime(2026, 3, 3, tzinfo=dt.UTC))

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

    def test_with_a_date_that_is_none_show_no_error_page(self, client):
        assert client.get(LIST, {"created_at__gte": "yesterday"}).status_code == 302


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

    def test_finds_by_number(self, client):
        events = [track("viewed", email) for email in (ADA, BOB)]

        assert listed(client, q=str(events[1].pk)) == [BOB]

    @pytest.mark.parametrize("term", [ADA, "cart:1"])
    def test_goes_together_with_a_filter_and_an_order(self, client, term):
        ended(ADA, Status.FAILED, "a", object_id="cart:1")
        ended(ADA, Status.FAILED, "c", object_id="cart:1")
        ended(ADA, Status.FAILED, "b", object_id="cart:1")
        ended(ADA, Status.SENT, "d", object_id="cart:1")

        response = client.get(LIST, {"q": term, "status__exact": "failed", "o": "2"})

        assert [event.name for event in response.context["cl"].result_list] == ["a", "b", "c"]


@pytest.mark.django_db
class PageTests:
    def test_shows_the_body_as_readable_json(self, client):
        event = ended(ADA, object_id="cart:1", data={"name": "Émile", "items": [1]})

        pre = re.search("<pre class=brevo-body>(.*?)</pre>", text_of(client.get(page_of(event))), re.DOTALL)[1]
        assert pre.startswith("{\n  &quot;email&quot;: &quot;ada@example.com&quot;,\n")
        assert "&quot;name&quot;: &quot;Émile&quot;," in pre

    def test_can_be_read_only(self, client):
        page = text_of(client.get(page_of(ended(ADA))))

        assert not re.search(r'<(input|textarea|select)(?![^>]*(type="hidden"|searchbar))[^>]*name="(?!csrf)', page)
        assert 'name="_save"' not in page
        assert "deletelink" not in page
        assert f"{LIST}add/" not in page

    @pytest.mark.parametrize(
        ("code", "error", "sentence"),
        [
            (204, "", "Brevo has taken the event."),
            (401, "unauthorized", "Brevo does not know the ma-key."),
            (503, "", "Brevo had a problem of its own."),
            (None, "timeout", "Brevo did not answer in time."),
        ],
    )
    def test_says_what_the_last_answer_means(self, client, code, error, sentence):
        event = ended(ADA)
        attempt(event, response_code=400)
        attempt(event, response_code=code, error=error)

        page = text_of(client.get(page_of(event)))
        assert sentence in page
        assert "Brevo refused the event" not in page

    def test_says_that_nothing_was_sent_yet(self, client):
        assert "Not sent yet." in text_of(client.get(page_of(track("viewed", ADA))))

    @pytest.mark.parametrize("browser", ["client", "viewer"])
    def test_shows_the_attempts_below_in_their_order(self, request, browser):
        event = ended(ADA)
        attempt(event, response_code=None, error="timeout", answer="Cut off.", duration_ms=20001)
        attempt(event, response_code=400, error="out_of_range", answer='{"code": "x", "message": "Too far"}')
        attempt(ended(BOB), response_code=418)

        page = text_of(request.getfixturevalue(browser).get(page_of(event)))
        assert page.index("Cut off.") < page.index("Too far")
        assert page.index("20001") < page.index("out_of_range")
        assert "418" not in page

    def test_escapes_what_came_from_outside(self, client):
        markup = "<script>alert(1)</script>"
        event = ended(f"{markup}@example.com", name=markup, object_id=markup, data={markup: markup})
        attempt(event, response_code=400, error=markup[:20], answer=f'{{"code": "x", "message": "{markup}"}}')
        attempt(event, response_code=500, answer=markup)

        page = text_of(client.get(page_of(event)))
        assert "<script>alert" not in page
        assert page.count(escape(markup)) >= 7

    @pytest.mark.parametrize("key", ["0", "9" * 30, "abc", "%00", "1'", "_00"])
    @pytest.mark.parametrize("verb", ["change", "resend"])
    def test_of_an_event_that_does_not_exist_leads_home(self, client, key, verb):
        response = client.get(f"{LIST}{key}/change/") if verb == "change" else client.post(f"{LIST}{key}/resend/")

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


@pytest.mark.django_db(transaction=True)
class ResendTests:
    @pytest.mark.parametrize("browser", ["client", "resender"])
    def test_by_the_button_makes_the_event_due_again(self, request, browser):
        event = ended(ADA, reason="rejected")

        response = request.getfixturevalue(browser).post(button_of(event), follow=True)

        row = OutboxEvent.objects.get()
        assert (row.status, row.reason, row.attempts) == (Status.PENDING, "", 0)
        assert row.due_at is not None
        assert response.redirect_chain == [(page_of(event), 302)]
        assert messages_of(response) == ["1 event is due again."]

    @pytest.mark.parametrize("browser", ["client", "resender"])
    def test_by_the_action_makes_the_selected_due_again(self, request, browser):
        events = [ended(email) for email in (ADA, BOB, EVE)]

        response = resend_selected(request.getfixturevalue(browser), *events[:2])

        assert [status_of(event) for event in events] == [Status.PENDING, Status.PENDING, Status.FAILED]
        assert messages_of(response) == ["2 events are due again."]

    def test_by_the_action_takes_all_that_a_filter_shows_and_not_more(self, client, monkeypatch):
        monkeypatch.setattr(OutboxEventAdmin, "list_per_page", 1)
        events = [ended(ADA), ended(BOB), ended(EVE, name="bought")]
        chosen = {"action": "resend", "select_across": "1", "_selected_action": [events[0].pk]}

        client.post(f"{LIST}?name=viewed", chosen)

        assert [status_of(event) for event in events] == [Status.PENDING, Status.PENDING, Status.FAILED]

    def test_by_the_action_goes_together_with_a_search(self, client):
        events = [ended(ADA), ended(ADA), ended(BOB)]
        chosen = {"action": "resend", "select_across": "1", "_selected_action": [events[0].pk]}

        client.post(f"{LIST}?q={ADA}", chosen)

        assert [status_of(event) for event in events] == [Status.PENDING, Status.PENDING, Status.FAILED]

    @pytest.mark.parametrize("selected", [[], ["0"]])
    def test_of_nothing_resends_nothing(self, client, selected):
        event = ended(ADA)

        client.post(LIST, {"action": "resend", "_selected_action": selected})

        assert status_of(event) == Status.FAILED
        assert not LogEntry.objects.exists()

    def test_sends_nothing_in_the_request(self, client, settings):
        events = [ended(ADA), ended(BOB)]
        settings.BREVO_EVENTS = {"ENGINE": "inline"}

        client.post(button_of(events[0]))
        resend_selected(client, events[1])

        assert locmem.sent == []
        assert [status_of(event) for event in events] == [Status.PENDING] * 2

    @pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete"])
    def test_by_the_button_takes_a_post_only(self, client, method):
        event = ended(ADA)

        response = getattr(client, method)(button_of(event))

        assert (response.status_code, response["Allow"]) == (405, "POST")
        assert status_of(event) == Status.FAILED

    def test_by_a_get_of_the_list_does_nothing(self, client):
        event = ended(ADA)

        client.get(LIST, {"action": "resend", "_selected_action": event.pk})

        assert status_of(event) == Status.FAILED

    def test_without_the_csrf_token_is_refused(self, settings):
        browser = browser_of(User.objects.create_superuser("root"), enforce_csrf_checks=True)
        event = ended(ADA)

        by_button = browser.post(button_of(event))
        by_action = browser.post(LIST, {"action": "resend", "_selected_action": [event.pk]})

        assert (by_button.status_code, by_action.status_code) == (403, 403)
        assert status_of(event) == Status.FAILED

    @pytest.mark.parametrize("middleware", [True, False])
    def test_by_the_button_of_the_page_carries_the_token(self, settings, middleware):
        if not middleware:
            settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
        browser = browser_of(User.objects.create_superuser("root"), enforce_csrf_checks=True)
        event = ended(ADA)
        form = re.search(
            f'<form method="post" action="{button_of(event)}">.*?</form>',
            text_of(browser.get(page_of(event))),
            re.DOTALL,
        )[0]
        token = re.search('name="csrfmiddlewaretoken" value="(.*?)"', form)[1]

        assert browser.post(button_of(event)).status_code == 403
        assert browser.post(button_of(event), {"csrfmiddlewaretoken": token}).status_code == 302
        assert status_of(event) == Status.PENDING

    def test_is_left_in_the_log_without_the_address(self, client):
        events = [ended(ADA), ended(BOB)]

        client.post(button_of(events[0]))
        resend_selected(client, events[1])

        entries = LogEntry.objects.order_by("pk")
        assert [entry.object_id for entry in entries] == [str(event.pk) for event in events]
        for entry, event in zip(entries, events, strict=True):
            assert entry.user.username == "root"
            assert entry.action_flag == CHANGE
            assert (entry.object_repr, entry.get_change_message()) == (f"viewed #{event.pk}", "Resent.")
            assert "@" not in repr(vars(entry))

    def test_tells_what_was_skipped_and_why(self, client):
        stale, _newer = (ended(ADA, object_id="cart:1") for _ in range(2))
        waiting, sent, failed = track("viewed", ADA), ended(BOB, Status.SENT), ended(EVE)

        response = resend_selected(client, stale, waiting, sent, failed)

        assert set(messages_of(response)) == {
            "1 event is due again.",
            "1 event was skipped: a newer event of the same contact and object exists.",
            "1 event was skipped: still waiting or being sent.",
            "1 event was skipped: already sent.",
        }
        assert [status_of(event) for event in (stale, sent, failed)] == [Status.FAILED, Status.SENT, Status.PENDING]
        assert LogEntry.objects.count() == 1

    def test_by_the_button_takes_a_sent_event_and_tells_of_an_outdated_one(self, client):
        sent, stale, _newer = ended(ADA, Status.SENT), *(ended(BOB, object_id="cart:1") for _ in range(2))

        client.post(button_of(sent))
        response = client.post(button_of(stale), follow=True)

        assert status_of(sent) == Status.PENDING
        assert status_of(stale) == Status.FAILED
        assert "1 event was skipped: a newer event of the same contact and object exists." in messages_of(response)

    def test_of_many_is_not_one_query_each_but_for_the_log(self, client):
        events = [ended(f"{number}@example.com") for number in range(20)]

        with CaptureQueriesContext(connection) as queries:
            client.post(LIST, {"action": "resend", "_selected_action": [event.pk for event in events]})

        assert LogEntry.objects.count() == 20
        others = [
            query["sql"] for query in queries if not re.match(r"INSERT INTO .django_admin_log|BEGIN", query["sql"])
        ]
        assert len(others) < 20

    def test_leads_back_to_the_site_that_it_came_from(self, client, settings):
        settings.ROOT_URLCONF = "tests.test_admin"
        event = ended(ADA)
        button = reverse("admin:brevo_events_outboxevent_resend", args=(event.pk,), current_app="staff")

        assert button.startswith("/staff/")
        assert button in text_of(client.get(f"/staff/brevo_events/outboxevent/{event.pk}/change/"))
        assert client.post(button).url == f"/staff/brevo_events/outboxevent/{event.pk}/change/"


@pytest.mark.django_db
class PermissionsTests:
    @pytest.mark.parametrize(
        ("status", "shown"), [("failed", True), ("sent", True), ("cancelled", True), ("pending", False)]
    )
    def test_of_a_resender_show_button_and_action(self, resender, status, shown):
        event = ended(ADA, status)

        assert (button_of(event) in text_of(resender.get(page_of(event)))) is shown
        assert '<option value="resend">' in text_of(resender.get(LIST))

    def test_of_a_viewer_show_all_but_button_and_action(self, viewer):
        event = ended(ADA)

        assert ADA in text_of(viewer.get(LIST))
        assert ADA in text_of(viewer.get(page_of(event)))
        assert 'value="resend"' not in text_of(viewer.get(LIST))
        assert "/resend/" not in text_of(viewer.get(page_of(event)))

    def test_of_a_viewer_do_not_suffice_to_resend(self, viewer):
        event = ended(ADA)

        assert viewer.post(button_of(event)).status_code == 403
        resend_selected(viewer, event)

        assert status_of(event) == Status.FAILED
        assert not LogEntry.objects.exists()

    def test_to_resend_alone_are_not_enough(self):
        browser, event = staff("resend_outboxevent"), ended(ADA)

        assert browser.post(button_of(event)).status_code == 403
        assert browser.get(LIST).status_code == 403
        assert status_of(event) == Status.FAILED

    def test_of_nobody_show_nothing(self):
        browser, event = staff(), ended(ADA)

        for response in (browser.get(LIST), browser.get(page_of(event)), browser.post(button_of(event))):
            assert response.status_code == 403
            assert ADA not in response.content.decode()
        assert "Brevo" not in text_of(browser.get("/admin/"))

    @pytest.mark.parametrize("is_staff", [True, False])
    def test_are_asked_for_after_a_login(self, is_staff):
        event = ended(ADA)
        browser = Client() if is_staff else browser_of(User.objects.create_user("customer"))

        for url, method in (
            (LIST, "get"),
            (page_of(event), "get"),
            (button_of(event), "post"),
            (button_of(event), "get"),
        ):
            response = getattr(browser, method)(url)
            assert response.status_code == 302
            assert response.url.startswith("/admin/login/")
        assert status_of(event) == Status.FAILED
