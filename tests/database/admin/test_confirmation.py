from __future__ import annotations

import datetime as dt
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from brevo_events import track
from brevo_events.admin import OutboxEventAdmin, confirmation
from brevo_events.models import OutboxEvent, Status
from brevo_events.querysets import OutboxEventQuerySet
from tests.browsing import (
    ACTIONS,
    ADA,
    BOB,
    EVE,
    LIST,
    address_of,
    ask,
    can_be_confirmed,
    confirm,
    dump,
    ended,
    expired,
    facts_of,
    hidden,
    left_out_of,
    messages_of,
    options_of,
    page_of,
    pks_of,
    root,
    selected,
    statuses_of,
    text_of,
)

pytestmark = pytest.mark.usefixtures("by_hand")

FAILED, PENDING, SENT, CANCELLED = Status.FAILED, Status.PENDING, Status.SENT, Status.CANCELLED


@pytest.fixture
def events(db):
    """One event that has failed and one that waits, of two contacts: each action finds one to change."""
    return [ended(ADA, object_id="cart:1"), track("viewed", BOB)]


@pytest.mark.django_db
class AskingTests:
    @pytest.mark.parametrize("action", ACTIONS)
    def test_changes_nothing(self, client, events, action):
        before = dump()

        ask(client, action, *events)
        client.post(LIST, selected(action, *events))

        assert dump() == before

    @pytest.mark.parametrize(
        ("action", "planned", "about", "left_out", "button"),
        [
            (
                "resend",
                "2 events will be resent; their attempts restart at zero.",
                ["2 viewed", "The oldest was captured 4 days ago.", f"2 contacts: {ADA}, {BOB}"],
                ["1 still waiting or being sent"],
                "Resend 2 events",
            ),
            (
                "cancel",
                "1 event will be cancelled and not sent.",
                ["1 viewed", "It was captured 5 days ago.", f"1 contact: {EVE}"],
                ["2 already finished"],
                "Cancel 1 event",
            ),
            (
                "erase",
                "3 events will lose their address, object, body and answers; pending ones will not be sent.",
                ["3 viewed", "The oldest was captured 5 days ago.", f"3 contacts: {ADA}, {BOB}, {EVE}"],
                [],
                "Erase 3 events for good",
            ),
        ],
    )
    def test_tells_what_how_old_whose_and_what_is_left_out(self, client, action, planned, about, left_out, button):
        events = [ended(ADA), ended(BOB), track("viewed", EVE)]
        for days, event in enumerate(events, start=3):
            moment = timezone.now() - dt.timedelta(days=days)
            OutboxEvent.objects.filter(pk=event.pk).update(created_at=moment)
        final = ["This cannot be undone."] if action == "erase" else []

        for response in (ask(client, action, *events), client.post(LIST, selected(action, *events))):
            assert facts_of(response) == [planned, *about, *final]
            assert left_out_of(response) == left_out
            assert f'name="confirmed" value="{button}"' in text_of(response)

    def test_names_twenty_contacts_before_a_resend(self, client):
        events = [ended(f"{index}@example.com") for index in range(10, 31)]

        listed = ", ".join(f"{index}@example.com" for index in range(10, 30))
        assert facts_of(ask(client, "resend", *events))[3] == f"21 contacts: {listed} …"
        assert facts_of(ask(client, "resend", *events[:20]))[3] == f"20 contacts: {listed}"

    def test_tells_of_newer_events_of_the_same_contacts_that_are_sent(self, client):
        sent_before = ended(ADA, SENT)
        events = [ended(ADA), ended(BOB)]
        ended("Ada@Example.com", SENT)
        ended(BOB, SENT)
        ended(BOB, FAILED)
        ended(EVE, SENT)

        fact = "Brevo already has 2 newer events of the same contacts, and will get these out of order."
        assert fact in facts_of(ask(client, "resend", *events))
        assert "Brevo already has" not in text_of(ask(client, "cancel", *events))
        assert "1 newer event " in text_of(ask(client, "resend", events[1]))
        assert "Brevo already has" not in text_of(ask(client, "resend", ended(BOB)))
        assert statuses_of(sent_before) == [SENT]

    def test_offers_what_is_left_out_each_reason_once(self, client):
        events = [ended(ADA, SENT), ended(BOB, SENT), expired(), ended(EVE), track("viewed", EVE)]
        stale = ended("x@example.com", object_id="cart:1")
        ended("x@example.com", object_id="cart:1")

        response = ask(client, "resend", *events, stale)

        assert options_of(response) == {"include_sent": 2, "include_outdated": 1, "include_expired": 1}
        assert left_out_of(response) == [
            "2 already sent Include: Brevo gets them twice (1 → 3)",
            "1 expired Include (1 → 2)",
            "1 still waiting or being sent",
            "1 a newer event of the same contact and object exists Include: Brevo gets what is outdated (1 → 2)",
        ]

    def test_counts_again_with_the_boxes_that_are_ticked(self, client):
        events = [ended(ADA, SENT), ended(BOB, SENT), ended(EVE), expired()]

        response = ask(client, "resend", *events, include_sent="on")

        assert facts_of(response)[0].startswith("3 events will be resent")
        assert 'value="Resend 3 events"' in text_of(response)
        assert options_of(response) == {"include_expired": 1, "include_sent": None}
        assert 'name="include_sent" checked' in text_of(response)
        assert hidden(response, "ticked") == "include_sent"

    @pytest.mark.parametrize(("ticked", "boxes"), [("", {"include_sent": "on"}), ("include_sent", {})], ids=str)
    def test_does_nothing_that_the_button_did_not_say(self, client, ticked, boxes):
        events = [ended(ADA, SENT), ended(BOB)]
        before = dump()

        response = confirm(client, "resend", *events, **{"ticked": ticked, **boxes})

        assert messages_of(response) == ["The boxes were changed. These are the numbers with them."]
        assert facts_of(response)[0].startswith("2 events " if boxes else "1 event ")
        assert hidden(response, "ticked") == ",".join(boxes)
        assert dump() == before

    def test_plans_once(self, client, monkeypatch):
        plans, resend = [], OutboxEventQuerySet.resend
        monkeypatch.setattr(OutboxEventQuerySet, "resend", lambda self, **how: plans.append(how) or resend(self, **how))
        sent, outdated = ended(ADA, SENT, object_id="cart:1"), ended(ADA, object_id="cart:1")
        ended(ADA, object_id="cart:1")

        response = ask(client, "resend", sent, outdated, expired(BOB), ended(EVE))

        # What was sent is outdated too: its own box alone would add nothing.
        assert options_of(response) == {"include_sent": 0, "include_outdated": 1, "include_expired": 1}
        assert plans == [{"dry_run": True}]

    def test_offers_nothing_for_an_event_that_no_box_can_include(self, client):
        event = expired()
        confirm(client, "erase", event)

        assert options_of(ask(client, "resend", event)) == {}

    def test_offers_nothing_where_nothing_is_skipped(self, client, events):
        assert options_of(ask(client, "resend", *events)) == {}
        assert options_of(ask(client, "cancel", ended(EVE, SENT))) == {}

    def test_offers_one_after_the_other_all_that_one_event_needs(self, client):
        event = ended(ADA, SENT, object_id="cart:1")
        ended(ADA, object_id="cart:1")

        first = ask(client, "resend", event)
        second = ask(client, "resend", event, include_sent="on")

        assert options_of(first) == {"include_sent": 0}
        assert options_of(second) == {"include_outdated": 1, "include_sent": None}
        assert not can_be_confirmed(second)
        confirm(client, "resend", event, include_sent="on", include_outdated="on")
        assert statuses_of(event) == [PENDING]

    @pytest.mark.parametrize("action", ACTIONS)
    def test_says_where_there_is_nothing_to_do(self, client, action):
        erased = ended(ADA)
        confirm(client, "erase", erased)

        response = ask(client, action, erased)

        assert facts_of(response) == ["There is nothing to do."]
        assert len(left_out_of(response)) == 1
        assert not can_be_confirmed(response)

    def test_takes_the_newest_ten_thousand_only(self, client, monkeypatch):
        assert confirmation.MOST == 10_000
        monkeypatch.setattr(confirmation, "MOST", 2)
        events = [ended(email) for email in (ADA, BOB, EVE)]

        response = client.post(LIST, selected("resend", events[0], select_across="1"))

        assert messages_of(response) == ["Only the newest 10,000 were selected. Repeat for the rest."]
        assert facts_of(response)[0].startswith("2 events will be resent")
        assert hidden(response, "pks") == f"{events[2].pk},{events[1].pk}"
        few = client.post(LIST, selected("resend", *events[:2]))
        assert messages_of(few) == []

    def test_asks_the_database_as_often_about_fifty_events_as_about_five(self, client):
        counts = {action: [] for action in ACTIONS}
        events = []
        for number in (5, 45):
            events += [ended(f"{number}.{index}@example.com") for index in range(number)]
            for action in ACTIONS:
                ask(client, action, events[0])
                with CaptureQueriesContext(connection) as queries:
                    text_of(ask(client, action, *events))
                counts[action].append(len(queries))

        assert all(few == many for few, many in counts.values()), counts

    @pytest.mark.parametrize("action", ACTIONS)
    def test_takes_ten_thousand_numbers(self, client, action):
        event = track("viewed", ADA) if action == "cancel" else ended(ADA)
        numbers = ",".join(str(event.pk + number) for number in range(10_000))

        response = client.post(address_of(action), {"pks": numbers})

        assert facts_of(response)[0].startswith("1 event ")
        assert client.post(address_of(action), {"pks": numbers, "confirmed": "yes"}).status_code == 302
        assert LogEntry.objects.count() == 1


@pytest.mark.django_db
class SelectingTests:
    """The events selected in the list, shown for confirmation and changed are the same."""

    def chosen(self, client, url, *events, **more):
        response = client.post(url, selected("resend", *events, **more))
        pks, back = hidden(response, "pks"), hidden(response, "back")
        assert back == url.replace("&", "&amp;")
        return sorted(int(pk) for pk in pks.split(","))

    def test_some_events_means_those(self, client):
        events = [ended(email) for email in (ADA, BOB, EVE)]

        assert self.chosen(client, LIST, *events[:2]) == [event.pk for event in events[:2]]

    def test_all_means_all_that_a_filter_shows_and_not_more(self, client, monkeypatch):
        monkeypatch.setattr(OutboxEventAdmin, "list_per_page", 1)
        events = [ended(ADA), ended(BOB), ended(EVE, name="bought")]

        found = self.chosen(client, f"{LIST}?name=viewed", events[0], select_across="1")

        assert found == [event.pk for event in events[:2]]

    def test_all_goes_together_with_a_search(self, client):
        events = [ended(ADA), ended(ADA), ended(BOB)]

        found = self.chosen(client, f"{LIST}?q={ADA}&status=failed", events[0], select_across="1")

        assert found == [event.pk for event in events[:2]]

    @pytest.mark.parametrize("numbers", [[], ["0"]])
    @pytest.mark.parametrize("action", ACTIONS)
    def test_nothing_means_nothing(self, client, events, action, numbers):
        before = dump()

        response = client.post(LIST, {"action": action, "_selected_action": numbers}, follow=True)

        assert not can_be_confirmed(response)
        assert dump() == before

    def test_and_confirming_leads_from_the_list_to_the_list_as_it_was(self, client):
        url, event = f"{LIST}?q={ADA}&status=failed", ended(ADA)
        page = client.post(url, selected("resend", event))
        form = {"pks": hidden(page, "pks"), "back": hidden(page, "back").replace("&amp;", "&"), "confirmed": "Resend"}

        response = client.post(address_of("resend"), form, follow=True)

        assert response.redirect_chain == [(url, 302)]
        assert statuses_of(event) == [PENDING]

    @pytest.mark.parametrize("action", ACTIONS)
    def test_by_a_get_does_nothing(self, client, events, action):
        before = dump()

        client.get(LIST, {**selected(action, *events), "confirmed": "yes"})

        assert dump() == before


@pytest.mark.django_db
class RestrictedTests:
    """A project's own get_queryset determines which events a user can see."""

    @pytest.fixture(autouse=True)
    def _site(self, settings):
        settings.ROOT_URLCONF = "tests.browsing"

    @pytest.mark.parametrize("action", ACTIONS)
    def test_action_neither_plans_nor_changes_a_hidden_event(self, client, action):
        status = PENDING if action == "cancel" else FAILED
        shown, hidden_one = ended(ADA, status), ended(ADA, status, name="hidden")
        before = OutboxEvent.objects.filter(pk=hidden_one.pk).values().get()
        form = {"pks": pks_of([shown, hidden_one])}
        url = address_of(action).replace("/admin/", "/viewed/")

        asked = client.post(url, form)
        client.post(url, {**form, "confirmed": "yes"})

        assert facts_of(asked)[0].startswith("1 event will ")
        assert OutboxEvent.objects.filter(pk=hidden_one.pk).values().get() == before
        assert [entry.object_id for entry in LogEntry.objects.all()] == [str(shown.pk)]

    def test_newer_hidden_events_are_not_told_of(self, client):
        shown = ended(ADA)
        ended(ADA, SENT, name="hidden")

        asked = client.post(address_of("resend").replace("/admin/", "/viewed/"), {"pks": shown.pk})

        assert "Brevo already has" not in text_of(asked)

    def test_page_and_filter_show_no_hidden_event(self, client):
        shown, other, hidden_one = ended(ADA), ended(ADA), ended(ADA, name="hidden")

        page = text_of(client.get(page_of(shown).replace("/admin/", "/viewed/")))
        listed = text_of(client.get(LIST.replace("/admin/", "/viewed/")))

        assert f"viewed #{other.pk}" in page
        assert f"hidden #{hidden_one.pk}" not in page
        assert '<option value="viewed">' in listed
        assert '<option value="hidden">' not in listed

    def test_source_is_a_link_only_if_its_own_admin_shows_it(self, client):
        event = ended(ADA)
        hidden_one = ended(BOB, name="hidden")
        OutboxEvent.objects.filter(pk=event.pk).update(source=f"brevo_events.outboxevent:{hidden_one.pk}")

        page = text_of(client.get(page_of(event).replace("/admin/", "/viewed/")))

        assert f"event {hidden_one.pk}" in page
        assert f"/outboxevent/{hidden_one.pk}/" not in page


@pytest.mark.django_db
class BackTests:
    def test_leads_to_the_page_of_one_event_and_to_the_list_after_several(self, client):
        one, *several = (ended(email) for email in (ADA, BOB, EVE))

        for step in (ask, confirm):
            assert self.back_of(step(client, "resend", one)) == page_of(one)
            assert self.back_of(step(client, "resend", *several)) == LIST

    @pytest.mark.parametrize("back", [LIST, f"{LIST}?q=a&p=2", "/elsewhere/", "http://testserver/admin/"])
    def test_leads_where_the_form_says(self, client, back):
        event = ended(ADA)

        assert self.back_of(ask(client, "resend", event, back=back)) == back
        assert self.back_of(confirm(client, "resend", event, back=back, follow=False)) == back

    @pytest.mark.parametrize(
        "back",
        [
            "https://evil.example/",
            "//evil.example/",
            "///evil.example/",
            "/\\evil.example/",
            "\\\\evil.example",
            "http:///evil.example/",
            "https:evil.example",
            "http://testserver@evil.example/",
            "http://testserver.evil.example/",
            "http://[evil",
            "javascript:alert(1)",
            "data:text/html,x",
            " //evil.example/",
            "\0//evil.example",
            "\x08//evil.example",
            "",
            " ",
        ],
        ids=ascii,
    )
    def test_never_leads_to_another_host(self, client, back):
        event = ended(ADA)

        for step in (ask, confirm):
            assert self.back_of(step(client, "resend", event, back=back)) == page_of(event)

    @pytest.mark.parametrize(
        "back", ["/\r\nSet-Cookie: a=b", "/" + "a" * 20_000, "/é\0\ud800"], ids=["break", "long", "odd"]
    )
    def test_takes_an_odd_one_without_an_error_page(self, client, back):
        event = ended(ADA)

        response = confirm(client, "resend", event, back=back.encode(errors="replace").decode(), follow=False)

        assert response.status_code == 302
        assert "Set-Cookie" not in response.headers
        assert response.url.isascii()
        assert statuses_of(event) == [PENDING]

    def test_of_another_site_stays_there(self, client, settings):
        settings.ROOT_URLCONF = "tests.browsing"
        event, other = ended(ADA), ended(BOB)
        button = reverse("admin:brevo_events_outboxevent_action", args=["resend"], current_app="staff")
        page = page_of(event).replace("/admin/", "/staff/")
        home = LIST.replace("/admin/", "/staff/")

        assert button.startswith("/staff/")
        assert f'action="{button}"' in text_of(client.get(page))
        for url, form in ((button, {"pks": event.pk}), (home, selected("resend", event))):
            content = text_of(client.post(url, form)).partition('<ol class="breadcrumbs"')[2].partition("<footer")[0]
            assert f'action="{button}"' in content
            assert "/admin/" not in content
        assert client.post(button, {"pks": event.pk, "confirmed": "yes"}).url == page
        assert client.post(button, {"pks": f"{event.pk},{other.pk}", "confirmed": "yes"}).url == home

    def back_of(self, response):
        if response.status_code == 302:
            return response.url
        if chain := getattr(response, "redirect_chain", None):
            return chain[0][0]
        link = re.search('<a href="([^"]*)" class="closelink">', text_of(response))[1]
        assert link == hidden(response, "back")
        return link.replace("&amp;", "&")


@pytest.mark.django_db
class MethodTests:
    @pytest.mark.parametrize("action", ACTIONS)
    @pytest.mark.parametrize("method", ["put", "patch", "delete", "options"])
    def test_is_post_alone(self, client, events, action, method):
        before = dump()
        query = f"{address_of(action)}?pks={pks_of(events)}&confirmed=yes"

        response = getattr(client, method)(query)

        assert (response.status_code, response["Allow"]) == (405, "GET, HEAD, POST")
        assert dump() == before

    @pytest.mark.parametrize("action", ACTIONS)
    def test_of_a_get_after_a_login_or_a_reload_changes_nothing_and_says_so(self, client, events, action):
        before = dump()

        response = client.get(f"{address_of(action)}?pks={pks_of(events)}&confirmed=yes", follow=True)

        assert response.redirect_chain == [(LIST, 302)]
        assert messages_of(response) == ["Nothing was changed: press the button again."]
        assert client.head(address_of(action)).url == LIST
        assert dump() == before

    @pytest.mark.parametrize("name", ["delete", "delete_selected", "Resend", "change", "0"])
    @pytest.mark.parametrize("method", ["get", "post"])
    def test_of_an_unknown_action_is_not_found(self, client, events, name, method):
        before = dump()

        response = getattr(client, method)(address_of(name), {"pks": pks_of(events), "confirmed": "yes"})

        assert response.status_code == 404
        assert dump() == before


@pytest.mark.django_db
class TokenTests:
    @pytest.mark.parametrize("action", ACTIONS)
    def test_that_is_missing_refuses_every_step(self, events, action):
        browser = root(enforce_csrf_checks=True)
        steps = [
            lambda: browser.post(LIST, selected(action, *events)),
            lambda: ask(browser, action, *events),
            lambda: confirm(browser, action, *events),
        ]

        before = dump()
        assert [step().status_code for step in steps] == [403, 403, 403]
        assert dump() == before

    @pytest.mark.parametrize("middleware", [True, False])
    @pytest.mark.parametrize("action", ACTIONS)
    def test_is_carried_by_button_and_form(self, settings, action, middleware):
        if not middleware:
            settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
        browser = root(enforce_csrf_checks=True)
        event = track("viewed", ADA) if action == "cancel" else ended(ADA)

        asked = browser.post(address_of(action), self.form_in(text_of(browser.get(page_of(event))), action))
        form = self.form_in(text_of(asked), action)

        assert confirm(browser, action, event).status_code == 403
        assert not LogEntry.objects.exists()
        assert browser.post(address_of(action), {**form, "confirmed": "yes"}).status_code == 302
        assert LogEntry.objects.count() == 1

    def form_in(self, page, action):
        form = re.search(f'<form method="post" action="{address_of(action)}">.*?</form>', page, re.DOTALL)[0]
        return dict(re.findall('<input type="hidden" name="(.*?)" value="(.*?)">', form))
