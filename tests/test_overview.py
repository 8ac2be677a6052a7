from __future__ import annotations

import datetime as dt
import json
import re

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from brevo_events import engines, track
from brevo_events.admin.banner import banner
from brevo_events.columns import in_seconds
from brevo_events.models import Gate, GateReason, OutboxEvent, SendAttempt, Status
from brevo_events.transports import locmem
from tests.browsing import LIST, browser_of, messages_of, staff, text_of

ADA = "ada@example.com"
PAGE, PAUSE, RESUME = f"{LIST}overview/", f"{LIST}overview/pause/", f"{LIST}overview/resume/"
APP = "/admin/brevo_events/"
MARKUP = "<script>alert('1')</script>"


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
def pauser(db):
    return staff("view_outboxevent", "pause_delivery")


@pytest.fixture
def nudges(monkeypatch):
    """Whether the engine was nudged, and how."""
    found = []
    monkeypatch.setattr(engines, "nudge", lambda **how: found.append(how))
    return found


def due_for(seconds, email=ADA):
    event = track("viewed", email)
    OutboxEvent.objects.filter(pk=event.pk).update(due_at=in_seconds(-seconds))
    return event


def attempt(event, ago=0, code=204, error="", message=""):
    return SendAttempt.objects.create(
        event=event,
        started_at=timezone.now() - dt.timedelta(seconds=ago),
        duration_ms=42,
        response_code=code,
        error=error,
        answer=json.dumps({"code": error, "message": message}) if message else "",
    )


def failed(name="viewed", message="No such contact"):
    event = track(name, ADA)
    ended = {"status": Status.FAILED, "response_code": 400, "due_at": None, "finished_at": timezone.now()}
    OutboxEvent.objects.filter(pk=event.pk).update(**ended)
    attempt(event, 0, 400, "invalid_parameter", message)
    return event


def close(reason=GateReason.ACCOUNT, code=401):
    Gate.load().close(reason, code)


def banner_in(page):
    found = re.search(r'<div class="brevo-banner brevo-banner-(\w+)".*?<p>(.*?)</p>', page, re.DOTALL)
    return (found[1], " ".join(re.sub("<.*?>", "", found[2]).split())) if found else None


def form_in(page, url):
    found = re.search(f'<form method="post" action="{url}">.*?</form>', page, re.DOTALL)
    return found and found[0]


@pytest.mark.django_db
class OverviewTests:
    def test_of_an_empty_outbox_is_a_page_too(self, client):
        page = text_of(client.get(PAGE))

        assert "No request was made yet." in page
        assert "Nothing failed in the last 30 days." in page
        assert page.count('<svg class="brevo-chart"') == 2
        assert banner_in(page) is None

    def test_shows_the_figures_in_the_chart_and_in_the_table(self, client):
        sent = track("viewed", ADA)
        OutboxEvent.objects.filter(pk=sent.pk).update(status=Status.SENT, due_at=None, finished_at=timezone.now())
        attempt(sent)
        failed()
        track("viewed", ADA)

        page = text_of(client.get(PAGE))

        assert page.count("1 sent, 1 failed, 1 still waiting") == 4  # each description, and the bar of now
        rows = re.findall(r'<tr><th scope="row">[^<]*</th>((?:<td class="brevo-number">\d+</td>){3})</tr>', page)
        figures = [re.findall(r">(\d+)<", row) for row in rows]
        assert len(figures) == 24 + 30
        assert figures[0] == figures[24] == ["1", "1", "1"]
        assert not any(figure != ["0", "0", "0"] for figure in figures[1:24] + figures[25:])
        assert "42 ms" in page
        assert "Brevo has taken the event." in page

    def test_names_what_fails_most_and_leads_to_it(self, client):
        failed("bought it", message="No such contact")
        failed("viewed")

        page = text_of(client.get(PAGE))

        url = re.search(r'<a href="([^"]*)">bought it</a>', page)[1].replace("&amp;", "&")
        assert "No such contact" in page
        listed = client.get(url).context["cl"].result_list
        assert [event.name for event in listed] == ["bought it"]

    def test_escapes_what_came_from_outside(self, client):
        failed(MARKUP, message=f"{MARKUP} is wrong")
        attempt(track("viewed", ADA), code=None, error=MARKUP)

        page = text_of(client.get(PAGE))

        assert "<script>alert" not in page
        assert page.count("&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;") >= 3

    def test_shows_no_address(self, client):
        attempt(failed(message=f"{ADA} is blocked"), code=400, error=f"blocked:{ADA}")
        failed(message=f"{ADA} is blocked")

        assert ADA not in text_of(client.get(PAGE))

    def test_needs_neither_script_nor_style_of_its_own(self, client):
        failed()
        content = text_of(client.get(PAGE)).partition('<div id="content"')[2].partition('<footer id="footer"')[0]

        assert "<svg" in content
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", content)

    def test_has_headings_in_order_and_a_name_for_each_figure(self, client):
        close()
        content = text_of(client.get(PAGE)).partition('<div id="content"')[2]

        assert re.findall("<h([1-6])", content) == ["1", "2", "2", "2", "2", "2"]
        for ids in re.findall('aria-labelledby="([^"]*)"', content):
            for name in ids.split():
                assert content.count(f'id="{name}"') == 1

    def test_is_a_constant_number_of_queries(self, client):
        client.get(PAGE)
        counts = []
        for number in (1, 20):
            for index in range(number):
                failed(f"event {index}")
                due_for(1000, f"{index}@example.com")
            cache.clear()
            with CaptureQueriesContext(connection) as queries:
                text_of(client.get(PAGE))
            counts.append(len(queries))

        assert counts[0] == counts[1] <= 16

    def test_asks_for_the_gate_and_the_oldest_event_alone_within_a_minute(self, client):
        client.get(PAGE)
        failed("lately")
        due_for(1000)
        Gate.load().pause()

        with CaptureQueriesContext(connection) as queries:
            page = text_of(client.get(PAGE))

        assert len(queries) <= 5  # two of them for the session and the user
        assert "lately" not in page
        assert "16 minutes" in page.replace("\xa0", " ")
        assert form_in(page, RESUME)

    def test_is_linked_from_the_list_and_the_index_of_the_app(self, client):
        assert f'href="{PAGE}"' in text_of(client.get(LIST))
        assert f'href="{PAGE}"' in text_of(client.get(APP))

    def test_of_another_site_stays_there(self, client, settings):
        settings.ROOT_URLCONF = "tests.browsing"
        failed()

        page = text_of(client.get(PAGE.replace("/admin/", "/staff/")))

        assert form_in(page, PAUSE.replace("/admin/", "/staff/"))
        assert '<a href="/staff/brevo_events/outboxevent/?status=failed&amp;name=viewed">' in page
        assert "/admin/" not in page.partition('<div id="content"')[2].partition("<footer")[0]
        response = client.post(PAUSE.replace("/admin/", "/staff/"))
        assert response.url == PAGE.replace("/admin/", "/staff/")


@pytest.mark.django_db
class GateTests:
    def test_that_is_open_is_said_to_be(self, client):
        page = text_of(client.get(PAGE))

        assert "<dd>Open</dd>" in page
        assert "Nothing holds events back" in page

    def test_that_is_closed_says_why_since_when_until_when_and_what_to_do(self, client):
        close()
        moment = dt.datetime(2026, 3, 1, 11, 5, tzinfo=dt.UTC)
        Gate.objects.update(closed_at=moment, closed_until=moment + dt.timedelta(hours=3))

        page = text_of(client.get(PAGE))

        assert "<dd>Closed</dd>" in page
        assert "<dd>Wrong key or URL (401)</dd>" in page
        assert "<dd>March 1, 2026, 12:05 p.m.</dd>" in page
        assert "<dd>March 1, 2026, 3:05 p.m.</dd>" in page
        assert "Check MA_KEY" in page

    def test_that_is_paused_says_since_when_and_of_the_fault_besides(self, client):
        close(GateReason.OUTAGE, 503)
        Gate.load().pause()
        Gate.objects.update(paused_at=dt.datetime(2026, 3, 1, 11, 5, tzinfo=dt.UTC))

        page = text_of(client.get(PAGE))

        assert "<dd>Paused by an operator</dd>" in page
        assert "<dd>March 1, 2026, 12:05 p.m.</dd>" in page
        assert "<dd>Brevo does not answer (503)</dd>" in page

    def test_shows_a_viewer_no_button(self, viewer, pauser):
        assert not form_in(text_of(viewer.get(PAGE)), PAUSE)
        assert form_in(text_of(pauser.get(PAGE)), PAUSE)
        assert not form_in(text_of(pauser.get(PAGE)), RESUME)


@pytest.mark.django_db(transaction=True)
class PauseTests:
    @pytest.mark.parametrize("browser", ["client", "pauser"])
    def test_holds_everything_back_and_is_seen_at_once(self, request, browser, nudges):
        browser = request.getfixturevalue(browser)
        browser.get(PAGE)

        response = browser.post(PAUSE, follow=True)

        assert Gate.load().is_paused
        assert response.redirect_chain == [(PAGE, 302)]
        assert messages_of(response) == [
            "Delivery is paused. What is in flight goes on; events are kept until you resume."
        ]
        assert form_in(text_of(response), RESUME)
        assert nudges == []

    def test_is_ended_by_the_other_button_which_wakes_the_engine(self, pauser, nudges):
        Gate.load().pause()

        response = pauser.post(RESUME, follow=True)

        assert not Gate.load().is_paused
        assert messages_of(response) == ["Delivery is resumed: what is due goes out."]
        assert form_in(text_of(response), PAUSE)
        assert nudges == [{"in_background": True}]

    def test_sends_nothing_in_the_request_when_it_ends(self, client, settings):
        Gate.load().pause()
        settings.BREVO_EVENTS = {"ENGINE": "inline"}
        track("viewed", ADA)

        client.post(RESUME)

        assert locmem.sent == []
        assert OutboxEvent.objects.get().status == Status.PENDING

    def test_that_ends_says_so_where_a_fault_still_holds_back(self, client):
        close()
        Gate.load().pause()

        response = client.post(RESUME, follow=True)

        assert messages_of(response) == ["The pause is over, but sending is still held back: Wrong key or URL."]

    def test_and_its_end_are_left_in_the_log_once(self, client):
        for url in (RESUME, PAUSE, PAUSE, RESUME, RESUME):
            client.post(url)

        entries = LogEntry.objects.order_by("pk")
        assert [(entry.get_change_message(), entry.object_repr) for entry in entries] == [
            ("Paused.", "paused"),
            ("Resumed.", "open"),
        ]
        for entry in entries:
            assert (entry.user.username, entry.action_flag, entry.object_id) == ("root", CHANGE, "1")
            assert entry.content_type.model_class() is Gate
        assert client.get("/admin/").status_code == 200

    @pytest.mark.parametrize("url", [PAUSE, RESUME])
    @pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete"])
    def test_takes_a_post_only(self, client, url, method):
        if url == RESUME:
            Gate.load().pause()

        response = getattr(client, method)(url)

        assert (response.status_code, response["Allow"]) == (405, "POST")
        assert Gate.load().is_paused is (url == RESUME)

    @pytest.mark.parametrize("middleware", [True, False])
    def test_wants_the_token_that_its_form_carries(self, settings, middleware):
        if not middleware:
            settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
        browser = browser_of(User.objects.create_superuser("root"), enforce_csrf_checks=True)
        token = re.search('name="csrfmiddlewaretoken" value="(.*?)"', form_in(text_of(browser.get(PAGE)), PAUSE))[1]

        assert browser.post(PAUSE).status_code == 403
        assert not Gate.load().is_paused
        assert browser.post(PAUSE, {"csrfmiddlewaretoken": token}).status_code == 302
        assert Gate.load().is_paused
        assert browser.post(RESUME).status_code == 403
        assert Gate.load().is_paused


@pytest.mark.django_db
class PermissionsTests:
    def test_of_a_viewer_show_the_page_and_change_nothing(self, viewer):
        assert viewer.get(PAGE).status_code == 200
        assert viewer.post(PAGE).status_code == 405
        assert viewer.post(PAUSE).status_code == 403
        assert not Gate.load().is_paused
        Gate.load().pause()
        assert viewer.post(RESUME).status_code == 403
        assert Gate.load().is_paused
        assert not LogEntry.objects.exists()

    def test_of_a_viewer_tell_what_an_answer_means_and_not_what_brevo_wrote(self, viewer):
        failed(message="Ada Lovelace, +33612345678, is blocklisted")

        page = text_of(viewer.get(PAGE))

        assert "Lovelace" not in page
        assert "+336" not in page
        assert "Brevo refused the event" in page.partition("brevo-failures")[2]

    @pytest.mark.parametrize("permissions", [(), ("pause_delivery",), ("resend_outboxevent",), ("view_gate",)])
    def test_without_the_one_to_view_show_and_change_nothing(self, permissions):
        browser = staff(*permissions)

        assert [browser.get(PAGE).status_code, browser.post(PAUSE).status_code, browser.post(RESUME).status_code] == [
            403
        ] * 3
        assert not Gate.load().is_paused

    def test_of_another_model_do_not_show_the_link(self):
        browser = staff("view_user")

        assert PAGE not in text_of(browser.get("/admin/"))
        assert browser.get(APP).status_code == 404

    @pytest.mark.parametrize("is_staff", [True, False])
    def test_are_asked_for_after_a_login(self, is_staff):
        browser = Client() if is_staff else browser_of(User.objects.create_user("customer"))

        for response in (browser.get(PAGE), browser.post(PAUSE), browser.get(PAUSE), browser.post(RESUME)):
            assert response.status_code == 302
            assert response.url.startswith("/admin/login/")
        assert not Gate.load().is_paused


@pytest.mark.django_db
class BannerTests:
    @pytest.mark.parametrize("url", [LIST, PAGE])
    def test_is_not_there_while_all_is_well(self, client, url):
        due_for(100)

        assert banner_in(text_of(client.get(url))) is None

    @pytest.mark.parametrize("url", [LIST, PAGE])
    def test_says_that_delivery_is_paused(self, client, url):
        Gate.load().pause()

        level, text = banner_in(text_of(client.get(url)))

        assert level == "warning"
        assert text.startswith("Delivery is paused: nothing goes out.")

    @pytest.mark.parametrize("url", [LIST, PAGE])
    @pytest.mark.parametrize(
        ("reason", "code", "level", "advice"),
        [
            (GateReason.ACCOUNT, 401, "error", "Brevo does not know the ma-key."),
            (GateReason.THROTTLED, 429, "warning", "Brevo asked to slow down."),
            (GateReason.OUTAGE, 503, "error", "Brevo had a problem of its own."),
            (GateReason.OUTAGE, None, "error", "No answer came."),
        ],
    )
    def test_says_why_the_gate_is_closed_and_what_to_do(self, client, url, reason, code, level, advice):
        close(reason, code)

        found, text = banner_in(text_of(client.get(url)))

        assert found == level
        assert text.startswith(f"Sending is held back: {reason.label}. {advice}")
        assert "will show whether it is over" in text

    @pytest.mark.parametrize("url", [LIST, PAGE])
    def test_asks_whether_anything_delivers_where_events_are_due_for_long(self, client, url):
        attempt(track("viewed", "bob@example.com"), ago=1000)
        due_for(300)

        level, text = banner_in(text_of(client.get(url)))

        assert level == "error"
        assert text.replace("\xa0", " ").startswith(
            "The oldest due event has been waiting for 5 minutes. Nobody delivers. Is send_brevo_events --loop running?"
        )

    def test_says_another_thing_where_delivery_is_only_slow(self, client):
        attempt(track("viewed", "bob@example.com"), ago=5)
        due_for(300)

        level, text = banner_in(text_of(client.get(LIST)))

        assert level == "warning"
        assert "slower than they come" in text

    def test_says_nothing_of_late_events_while_the_gate_explains_them(self, client):
        due_for(3000)
        close()

        assert "waiting for" not in banner_in(text_of(client.get(LIST)))[1]

    def test_does_not_wait_for_a_cool_down_that_is_over(self):
        close()
        Gate.objects.update(closed_until=F("closed_at") - dt.timedelta(seconds=1))

        assert "The next due event shows whether it is over." in banner().advice

    def test_costs_the_list_three_queries(self, client, monkeypatch):
        counts = []
        for _ in range(2):
            with CaptureQueriesContext(connection) as queries:
                client.get(LIST)
            counts.append(len(queries))
            monkeypatch.setattr("brevo_events.admin.events.banner", lambda: None)

        assert counts[0] - counts[1] == 3

    def test_leads_from_the_list_and_an_event_to_the_overview(self, client):
        Gate.load().pause()

        for url in (LIST, f"{LIST}{track('viewed', 'ada@example.com').pk}/change/"):
            assert f'<a href="{PAGE}">See the overview</a>' in text_of(client.get(url))
        assert "See the overview" not in text_of(client.get(PAGE))
