from __future__ import annotations

import datetime as dt
import json
import re
from html import unescape

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.db.models import F
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from brevo_events import Event, engines, track
from brevo_events.admin.question import question
from brevo_events.answers import Answer
from brevo_events.clock import in_seconds
from brevo_events.health import Pulse, state, take_pulse
from brevo_events.models import Gate, GateReason, Interruption, OutboxEvent, SendAttempt, Status
from brevo_events.transports import locmem
from tests.browsing import LIST, browser_of, messages_of, staff, text_of

ADA = "ada@example.com"
PAGE, PAUSE, RESUME = f"{LIST}overview/", f"{LIST}overview/pause/", f"{LIST}overview/resume/"
TRY_NOW = f"{LIST}overview/try-now/"
APP = "/admin/brevo_events/"
OFFSETS = (0, 1, 2, 5.5)  # hours ahead of UTC, in the zones of the charts
MARKUP = "<script>alert('1')</script>"


@pytest.fixture(autouse=True)
def _by_hand(settings, monkeypatch):
    monkeypatch.setattr("brevo_events.hours.PATIENCE", 600)  # also on a busy machine
    settings.BREVO_EVENTS = {"ENGINE": "worker"}
    cache.clear()


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
    now = timezone.now()
    answer = Answer(400, json.dumps({"code": "invalid_parameter", "message": message}))
    ended = {"status": Status.FAILED, "response_code": 400, "due_at": None, "finished_at": now}
    ended |= {"failed_at": now, "failure": answer.fingerprint}
    OutboxEvent.objects.filter(pk=event.pk).update(**ended)
    attempt(event, 0, 400, "invalid_parameter", message)
    return event


def in_utc(span):
    return [moment and moment.astimezone(dt.UTC) for moment in (span.start, span.end)]


def close(reason=GateReason.ACCOUNT, code=401):
    Gate.load().close(reason, code)


def banner_in(page):
    found = re.search(r'<div class="brevo-banner brevo-banner-(\w+)".*?<p>(.*?)</p>', page, re.DOTALL)
    return (found[1], " ".join(re.sub("<.*?>", "", found[2]).split())) if found else None


def figures_in(page):
    """Return the values in the tables of both charts."""
    tables = "".join(re.findall(r"<details>.*?</details>", page, re.DOTALL))
    rows = re.findall(r'<tr><th scope="row">[^<]*</th>(.*?)</tr>', tables)
    return [re.findall(r'<td class="brevo-number">(?:<a [^>]*>)?(\d+)', row) for row in rows]


def link_in(page, url):
    return f'<a class="button" href="{url}">' in page


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
        assert "No event has ended in the last 30 days." in page
        assert banner_in(page) is None

    def test_shows_the_figures_in_the_chart_and_in_the_table(self, client):
        sent = track("viewed", ADA)
        OutboxEvent.objects.filter(pk=sent.pk).update(status=Status.SENT, due_at=None, finished_at=timezone.now())
        attempt(sent)
        failed()
        track("viewed", ADA)

        page = text_of(client.get(PAGE))

        assert page.count("1 accepted, 1 failed, 1 still waiting") == 4  # each description, and the bar of now
        figures = figures_in(page)
        assert len(figures) == 24 + 30
        assert figures[0] == figures[24] == ["1", "1", "1"]
        assert not any(figure != ["0", "0", "0"] for figure in figures[1:24] + figures[25:])
        assert "42 ms" in page
        assert "Brevo accepted the event." in page

    def test_share_of_each_answer_is_as_long_as_its_count(self, client):
        for code in (204, 204, 204, 400):
            attempt(track("viewed", ADA), code=code)

        page = text_of(client.get(PAGE))

        assert re.findall('<meter max="4" value="(.)" aria-hidden="true"></meter>', page) == ["3", "1"]

    def test_names_what_fails_most_and_leads_to_exactly_these(self, client):
        failed("bought it", message="No such contact")
        failed("viewed", message="Too large")

        page = text_of(client.get(PAGE))

        groups = re.findall(r"<li>\s*<div class=.brevo-group-answer.*?</li>", page, re.DOTALL)
        (group,) = [group for group in groups if "No such contact" in group]
        assert "bought it" in group
        url = re.search(r'<a href="([^"]*)"[^>]*>Show</a>', group)[1]
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

        assert re.findall("<h([1-6])", content) == ["1", *"2222222"]
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

        assert counts[0] == counts[1] <= 29

    def test_asks_for_charts_and_failures_once_in_a_while_and_for_the_rest_each_time(self, client):
        client.get(PAGE)
        failed("lately")
        due_for(1000)
        Gate.load().pause()

        with CaptureQueriesContext(connection) as queries:
            page = text_of(client.get(PAGE))

        assert len(queries) <= 12  # two of them for the session and the user
        assert "lately" not in page
        assert "The last request" in page
        assert "16 minutes" in page.replace("\xa0", " ")
        assert form_in(page, RESUME)

    def test_is_linked_from_the_list_and_the_index_of_the_app(self, client):
        assert f'href="{PAGE}"' in text_of(client.get(LIST))
        assert f'href="{PAGE}"' in text_of(client.get(APP))

    def test_of_another_site_stays_there(self, client, settings):
        settings.ROOT_URLCONF = "tests.browsing"
        failed()

        page = text_of(client.get(PAGE.replace("/admin/", "/staff/")))

        assert link_in(page, PAUSE.replace("/admin/", "/staff/"))
        assert '<a href="/staff/brevo_events/outboxevent/?failure=' in page
        assert "/admin/" not in page.partition('<div id="content"')[2].partition("<footer")[0]
        response = client.post(PAUSE.replace("/admin/", "/staff/"))
        assert response.url == PAGE.replace("/admin/", "/staff/")


@pytest.mark.django_db
class GateTests:
    def test_that_is_open_is_said_to_be(self, client):
        page = text_of(client.get(PAGE))

        assert '<p class="brevo-state">Events are sent as they become due.</p>' in page

    def test_that_is_closed_says_why_since_when_until_when_and_what_to_do(self, client):
        close()
        moment = dt.datetime(2026, 3, 1, 11, 5, 6, tzinfo=dt.UTC)
        Gate.objects.update(closed_at=moment, closed_by=12)

        page = text_of(client.get(PAGE))

        assert page.count("Delivery is on hold: Brevo does not accept the key (401).") == 1
        assert "Since March 1, 2026, 12:05:06 (" in page
        assert "The next try is in " in page
        assert "Event #12 caused it." in page
        assert "Check MA_KEY" in page

    def test_that_is_paused_says_since_when_and_of_the_fault_besides(self, client):
        close(GateReason.OUTAGE, 503)
        Gate.load().pause(by="ada", reason="deploy <4>")
        Gate.objects.update(paused_at=dt.datetime(2026, 3, 1, 11, 5, tzinfo=dt.UTC))

        page = text_of(client.get(PAGE))

        assert page.count("Delivery is paused by ada: “deploy &lt;4&gt;”.") == 1
        assert "Since March 1, 2026, 12:05:00 (" in page
        assert "Also: Delivery is on hold: Brevo does not answer (503)." in page

    def test_shows_a_viewer_no_button(self, viewer, pauser):
        assert PAUSE not in text_of(viewer.get(PAGE))
        assert link_in(text_of(pauser.get(PAGE)), PAUSE)
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
        assert messages_of(response) == ["Delivery is paused. Requests in flight go on; events wait until you resume."]
        assert form_in(text_of(response), RESUME)
        assert nudges == []

    def test_is_ended_by_the_other_button_which_wakes_the_engine(self, pauser, nudges):
        Gate.load().pause()

        response = pauser.post(RESUME, follow=True)

        assert not Gate.load().is_paused
        assert messages_of(response) == ["Delivery is resumed: due events are sent."]
        assert link_in(text_of(response), PAUSE)
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

        assert messages_of(response) == [
            "The pause is over, but: Delivery is on hold: Brevo does not accept the key (401)."
        ]

    def test_and_its_end_are_left_in_the_log(self, client):
        for url in (RESUME, PAUSE, RESUME, RESUME):
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

    @pytest.mark.parametrize("url", [PAUSE, RESUME, TRY_NOW])
    @pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete"])
    def test_is_changed_by_a_post_only(self, client, url, method):
        close()
        if url == RESUME:
            Gate.load().pause()
        before = list(Gate.objects.values())

        response = getattr(client, method)(url)

        assert response.status_code == (405 if method in ("put", "patch", "delete") else 200 if url == PAUSE else 302)
        assert list(Gate.objects.values()) == before
        assert not LogEntry.objects.exists()

    @pytest.mark.parametrize("url", [RESUME, TRY_NOW])
    def test_tells_whoever_logs_in_between_to_press_again(self, client, url):
        response = client.get(url, follow=True)

        assert response.redirect_chain == [(PAGE, 302)]
        assert messages_of(response) == ["Nothing was changed: press the button again."]

    def test_asks_for_a_reason_and_an_end(self, pauser):
        page = text_of(pauser.get(PAUSE))

        assert "After 15 minutes" in page
        assert 'type="datetime-local"' in page
        assert "Europe/Paris" in page
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=", page.partition('<div id="content"')[2])

    @pytest.mark.parametrize(("end", "seconds"), [("15", 900), ("60", 3600)])
    def test_may_end_by_itself(self, pauser, end, seconds):
        response = pauser.post(PAUSE, {"reason": "deploy 4.2", "end": end}, follow=True)

        gate = Gate.load()
        assert gate.seconds_until_resumed == pytest.approx(seconds, abs=20)
        assert (gate.pause_reason, gate.paused_by) == ("deploy 4.2", "view_outboxevent-pause_delivery")
        assert messages_of(response)[0].startswith("Delivery is paused until ")
        assert re.fullmatch(r"Paused until .*\. deploy 4\.2", LogEntry.objects.get().get_change_message())

    def test_may_end_at_a_time_in_the_zone_of_the_site(self, pauser):
        tomorrow = timezone.localdate() + dt.timedelta(days=1)

        pauser.post(PAUSE, {"end": "at", "until": f"{tomorrow}T16:00"})

        assert timezone.localtime(Gate.load().paused_until).strftime("%Y-%m-%d %H:%M") == f"{tomorrow} 16:00"

    @pytest.mark.parametrize(
        "given",
        [
            {"end": "at"},
            {"end": "at", "until": "2020-01-01T10:00"},
            {"end": "at", "until": "soon"},
            {"end": "7"},
            {"end": "", "until": "2999-01-01T10:00"},
            {"end": "15", "until": "2999-01-01T10:00"},
            {"reason": "x" * 201},
        ],
    )
    def test_is_asked_for_again_with_what_is_wrong(self, pauser, given):
        page = text_of(pauser.post(PAUSE, given))

        assert "errorlist" in page
        assert not Gate.load().is_paused

    @pytest.mark.parametrize("middleware", [True, False])
    def test_wants_the_token_that_its_form_carries(self, settings, middleware):
        if not middleware:
            settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
        browser = browser_of(User.objects.create_superuser("root"), enforce_csrf_checks=True)
        token = re.search('name="csrfmiddlewaretoken" value="(.*?)"', text_of(browser.get(PAUSE)))[1]

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
        assert re.search(r"<strong>400</strong> <span class=\"brevo-quiet\">\s*</span>", page)
        assert "unblock the contact at Brevo" in page.partition("brevo-failures")[2]

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
    @pytest.mark.parametrize("url", [LIST, PAGE, APP])
    def test_is_not_there_while_all_is_well(self, client, url):
        due_for(100)

        assert banner_in(text_of(client.get(url))) is None

    @pytest.mark.parametrize("url", [LIST, PAGE, APP])
    def test_says_that_delivery_is_paused(self, client, url):
        Gate.load().pause()

        level, text = banner_in(text_of(client.get(url)))

        assert level == "warning"
        assert text.startswith("Delivery is paused by a command.")

    @pytest.mark.parametrize("url", [LIST, PAGE])
    @pytest.mark.parametrize(
        ("reason", "code", "level", "advice"),
        [
            (GateReason.ACCOUNT, 401, "error", "Brevo does not know the ma-key."),
            (GateReason.THROTTLED, 429, "warning", "Brevo asked to slow down."),
            (GateReason.OUTAGE, 503, "error", "Brevo had an internal error."),
            (GateReason.OUTAGE, None, "error", "No answer came."),
        ],
    )
    def test_says_why_the_gate_is_closed_and_what_to_do(self, client, url, reason, code, level, advice):
        close(reason, code)

        found, text = banner_in(text_of(client.get(url)))

        assert found == level
        cause = "Brevo does not accept the key" if code == 401 else reason.label
        assert text.startswith(f"Delivery is on hold: {cause}{f' ({code})' if code else ''}. {advice}")
        assert "Nothing is lost until then." in text

    @pytest.mark.parametrize("url", [LIST, PAGE])
    def test_asks_whether_anything_delivers_where_events_are_due_for_long(self, client, url):
        attempt(track("viewed", "bob@example.com"), ago=1000)
        due_for(300)

        level, text = banner_in(text_of(client.get(url)))

        assert level == "error"
        assert text.replace("\xa0", " ").startswith(
            "Nothing is sending. The oldest event has been due for 5 minutes. Start send_brevo_events --loop, or check"
        )

    def test_says_another_thing_where_delivery_is_only_slow(self, client):
        attempt(track("viewed", "bob@example.com"), ago=5)
        due_for(300)

        level, text = banner_in(text_of(client.get(LIST)))

        assert level == "warning"
        assert "Events arrive faster than they are sent." in text

    def test_says_nothing_of_late_events_while_the_gate_explains_them(self, client):
        due_for(3000)
        close()

        assert "has been due" not in banner_in(text_of(client.get(LIST)))[1]

    def test_does_not_wait_for_a_cool_down_that_is_over(self):
        close()
        Gate.objects.update(closed_until=F("closed_at") - dt.timedelta(seconds=1))

        assert "The next due event shows whether it is over." in state(take_pulse()).facts

    def test_costs_the_list_four_queries(self, client, monkeypatch):
        counts = []
        for _ in range(2):
            with CaptureQueriesContext(connection) as queries:
                client.get(LIST)
            counts.append(len(queries))
            monkeypatch.setattr("brevo_events.admin.events.take_pulse", lambda: Pulse(Gate(), 0.0))

        assert counts[0] - counts[1] == 4

    def test_leads_from_the_list_and_an_event_to_the_overview(self, client):
        Gate.load().pause()

        for url in (LIST, f"{LIST}{track('viewed', 'ada@example.com').pk}/change/", APP):
            assert f'<a href="{PAGE}">See the overview</a>' in text_of(client.get(url))
        assert "See the overview" not in text_of(client.get(PAGE))


class TryNowTests:
    URL = "/admin/brevo_events/outboxevent/overview/try-now/"

    @pytest.mark.django_db(transaction=True)
    def test_ends_the_cool_down_wakes_the_engine_and_is_logged(self, pauser, nudges):
        Gate.load().close(GateReason.OUTAGE, 503, 300)

        response = pauser.post(self.URL, follow=True)

        assert messages_of(response) == ["A few events are being sent now, to test the connection."]
        assert Gate.load().is_probe_due
        assert nudges
        assert LogEntry.objects.get().get_change_message() == "Tried now."

    def test_does_nothing_if_delivery_is_not_on_hold(self, pauser):
        response = pauser.post(self.URL, follow=True)

        assert messages_of(response) == ["Delivery is not on hold."]
        assert not LogEntry.objects.exists()

    def test_is_offered_only_while_delivery_is_on_hold_and_not_paused(self, pauser):
        assert "Try now" not in text_of(pauser.get(PAGE))
        Gate.load().close(GateReason.OUTAGE, 503, 300)
        assert "Try now" in text_of(pauser.get(PAGE))
        Gate.load().pause()
        assert "Try now" not in text_of(pauser.get(PAGE))

    def test_needs_the_permission_to_pause(self, viewer):
        Gate.load().close(GateReason.OUTAGE, 503, 300)

        assert viewer.post(self.URL).status_code == 403
        assert not Gate.load().is_probe_due


@pytest.mark.django_db
class ChartTests:
    def spans_of(self, page, status):
        """Return the spans of time that the bars of the first chart lead to, and their names."""
        chart = page.partition('<svg class="brevo-chart"')[2].partition("</svg>")[0]
        links = re.findall(r'<a href="([^"]*)" aria-label="([^"]*)"', chart)
        asked = [(QueryDict(unescape(url).partition("?")[2]), name) for url, name in links]
        return [(query, name) for query, name in asked if query["status"] == status]

    def test_lead_from_each_bar_to_its_events(self, client):
        moment = timezone.now() - dt.timedelta(hours=2)
        mine = failed()
        OutboxEvent.objects.filter(pk=mine.pk).update(finished_at=moment)
        failed("another")
        track("viewed", ADA)

        page = text_of(client.get(PAGE))

        ((first, name), (second, _name)) = self.spans_of(page, "failed")
        assert name.endswith(": 1 failed")
        since, until = (parse_datetime(first[end]) for end in ("from", "to"))
        assert first["when"] == "finished"
        assert list(OutboxEvent.objects.finished_between("failed", since, until)) == [mine]
        assert until - since == dt.timedelta(hours=1)
        ((waiting, _name),) = self.spans_of(page, "waiting")
        assert waiting["when"] == "captured"
        assert waiting["from"] == second["from"]

    # In Paris the clocks go back that morning, so that 2:00 to 3:00 occurs twice; in Kolkata no hour begins with one of
    # UTC's.
    @pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "Asia/Kolkata"])
    def test_lead_to_exactly_the_events_that_each_bar_counts(self, client, settings, monkeypatch, zone):
        settings.TIME_ZONE = zone
        now = dt.datetime(2025, 10, 26, 10, 40, tzinfo=dt.UTC)
        monkeypatch.setattr(timezone, "now", lambda: now)
        events = self.events_around(now)

        for chart in text_of(client.get(PAGE)).split('<svg class="brevo-chart"')[1:]:
            counted = {status: [] for status in events}
            for url, name in re.findall(r'<a href="([^"]*)" aria-label="([^"]*)"', chart.partition("</svg>")[0]):
                found = client.get(unescape(url)).context["cl"]
                pks = list(found.queryset.values_list("pk", flat=True))
                assert name.rpartition(": ")[2].split()[0] == str(len(pks)) == str(found.result_count), (url, name)
                counted[found.asked.status] += pks
                # The tabs and buttons of the list keep the span.
                again = question(QueryDict(found.asked.link()[1:]), "")
                assert in_utc(again.span) == in_utc(found.asked.span), url
            for status, moments in events.items():
                first = self.first_moment(chart, now)
                assert sorted(counted[status]) == [pk for pk, moment in moments if moment >= first], status

    def events_around(self, now):
        """Make events of each kind at the ends of hours and days; return their keys and times, by tab."""
        hours = [
            now.replace(minute=minute) - dt.timedelta(hours=ago) for ago in (0, 8, 9, 10, 23) for minute in (0, 30)
        ]
        days = [hours[0].replace(hour=0) - dt.timedelta(days=ago, hours=ahead) for ago in (0, 29) for ahead in OFFSETS]
        ticks = [dt.timedelta(microseconds=ago) for ago in (0, 1)]
        moments = sorted({end - tick for end in (*hours, *days) for tick in ticks})
        body = Event("viewed", ADA).json()
        made = {}
        for tab, status in (("sent", Status.SENT), ("failed", Status.FAILED), ("waiting", Status.PENDING)):
            values = {"name": "viewed", "email": ADA, "body": body, "status": status}
            for moment in moments:
                # One that ended was captured long before.
                past = {"created_at": now - dt.timedelta(days=80), "due_at": None, "finished_at": moment}
                times = {"created_at": moment, "due_at": now} if tab == "waiting" else past
                OutboxEvent.objects.bulk_create([OutboxEvent(**values, **times)])
            pks = OutboxEvent.objects.filter(status=status).order_by("pk").values_list("pk", flat=True)
            made[tab] = list(zip(pks, moments, strict=True))
        return made

    def first_moment(self, chart, now):
        """Return when the first bar of a chart begins."""
        local = timezone.localtime(now)
        if 'id="brevo-hours-title"' in chart:
            return local.replace(minute=0).astimezone(dt.UTC) - dt.timedelta(hours=23)
        day = local.date() - dt.timedelta(days=29)
        return timezone.make_aware(dt.datetime(day.year, day.month, day.day))

    def test_lead_to_the_same_from_their_tables(self, client):
        failed()

        page = text_of(client.get(PAGE))

        for chart, table in zip(
            page.split('<svg class="brevo-chart"')[1:],
            re.findall(r"<details>.*?</details>", page, re.DOTALL),
            strict=True,
        ):
            drawn = re.findall(r'<a href="([^"]*)"', chart.partition("</svg>")[0])
            assert drawn == re.findall(r'<a href="([^"]*)"', table)
            assert len(drawn) == 1

    def test_shade_holds_and_pauses_and_say_for_how_long(self, client):
        now = timezone.now()
        hour = now.replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=3)
        for kind, began_at, ended_at in (
            ("hold", hour + dt.timedelta(minutes=10), hour + dt.timedelta(minutes=50)),
            ("pause", now - dt.timedelta(days=3), now - dt.timedelta(days=2, hours=4)),
            ("hold", now - dt.timedelta(days=60), now - dt.timedelta(days=50)),
        ):
            reason = "outage" if kind == "hold" else ""
            Interruption.objects.create(kind=kind, reason=reason, began_at=began_at, ended_at=ended_at, is_settled=True)

        hours, days = text_of(client.get(PAGE)).split('<svg class="brevo-chart"')[1:]

        ((x, width),) = re.findall(r'brevo-band-hold" x="([\d.]+)%" y="\d+" width="([\d.]+)%" height="200"', hours)
        assert float(width) == pytest.approx(40 / (24 * 60) * 100, abs=0.02)
        assert float(x) == pytest.approx((20 + 1 / 6) / 24 * 100, abs=0.02)
        assert "0 still waiting, on hold 40 min" in hours
        assert '<a href="#brevo-log">on hold</a>' in hours
        assert "brevo-band-pause" not in hours
        assert days.partition("</svg>")[0].count("brevo-band-") == 2
        assert re.search(r", paused \d+ h", days)

    def test_shade_an_interruption_that_lasts_up_to_now(self, client):
        Gate.load().pause()
        Interruption.objects.update(began_at=timezone.now() - dt.timedelta(hours=2))

        page = text_of(client.get(PAGE))

        assert "paused" in page.partition('<svg class="brevo-chart"')[2].partition("</section>")[0]
        assert re.search(r"Paused for 2 h( \d+ s)? so far", page)


@pytest.mark.django_db
class NamesTests:
    def test_are_listed_with_what_helps_and_lead_to_their_events(self, client):
        for _ in range(2):
            event = track("bought it", ADA)
            ended = {"status": Status.SENT, "due_at": None, "finished_at": event.created_at + dt.timedelta(seconds=61)}
            OutboxEvent.objects.filter(pk=event.pk).update(**ended)
        failed("bought it")

        names = text_of(client.get(PAGE)).partition('id="brevo-names"')[2].partition("</section>")[0]

        row = " ".join(re.sub("<.*?>", " ", names.partition("<tbody>")[2]).split())
        assert re.fullmatch(r"bought it 2 2.0 a day 1 33 % 0 1 min 1 s 95 %: 1 min 1 s in (1 min|\d+ s).*", row), row
        assert f'<a href="{LIST}?name=bought+it">bought it</a>' in names

    def test_that_have_stopped_are_marked(self, client):
        body, now = Event("daily", ADA).json(), timezone.now()
        values = {"name": "daily", "email": ADA, "body": body, "status": Status.SENT, "due_at": None}
        OutboxEvent.objects.bulk_create(
            OutboxEvent(**values, finished_at=now - dt.timedelta(days=days)) for days in range(5, 20)
        )

        assert "quiet since" in text_of(client.get(PAGE))

    def test_tell_how_many_requests_were_saved(self, client):
        for _ in range(3):
            event = track("viewed", ADA)
            ended = {"status": Status.CANCELLED, "reason": "superseded", "due_at": None, "finished_at": timezone.now()}
            OutboxEvent.objects.filter(pk=event.pk).update(**ended)

        assert "<dt>Requests saved, 7 days</dt><dd>3</dd>" in text_of(client.get(PAGE))
