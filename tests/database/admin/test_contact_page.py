from __future__ import annotations

import datetime as dt
import json
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from brevo_events import Event, track
from brevo_events.admin.contact.carts import verdict_on
from brevo_events.clock import in_seconds
from brevo_events.models import OutboxEvent, Status
from tests.browsing import ADA, BOB, LIST, address_of, attempt, confirm, dump, ended, page_of, staff, text_of

pytestmark = pytest.mark.usefixtures("by_hand")

VIEW, SEE, ERASE = "view_outboxevent", "view_contact_data", "erase_contact"
NOON = dt.datetime(2026, 3, 1, 11, 0, tzinfo=dt.UTC)


def contact_of(event):
    return f"{LIST}contact/{event.pk}/"


def without_tags(markup):
    return " ".join(re.sub("<.*?>", " ", markup, flags=re.DOTALL).replace("\xa0", " ").split())


def groups_on(page):
    """Return the objects of the page, each with the events below it."""
    cards = re.split('<section class="brevo-card"', page)[1:]
    return {
        without_tags(re.search("<h2[^>]*>(.*?)</h2>", card)[1]): [
            without_tags(name) for name in re.findall('<th scope="row">(.*?)</th>', card)
        ]
        for card in cards
    }


def verdicts_on(page):
    return [without_tags(found) for found in re.findall('<p class="brevo-verdict[^>]*>(.*?)</p>', page, re.DOTALL)]


@pytest.mark.django_db
class ContactTests:
    def test_shows_the_events_of_one_address_by_object_the_newest_first(self, client):
        first = ended("Ada@Example.com", object_id="cart:1")
        second = ended(ADA, object_id="cart:2")
        third, fourth = ended(ADA, object_id="cart:1"), ended(ADA)
        ended(BOB, object_id="cart:1")

        page = text_of(client.get(contact_of(first)))

        assert list(groups_on(page).items()) == [
            ("Without an object", [str(fourth)]),
            ("cart:1", [str(first), str(third)]),
            ("cart:2", [str(second)]),
        ]
        assert "4 events" in page
        assert page.partition("<main")[2].count("Europe/Paris") == 1  # Django 6.1 has it in the body's tag
        for event in (first, second, third, fourth):
            assert f'href="{page_of(event)}"' in page
            assert groups_on(text_of(client.get(contact_of(event)))) == groups_on(page)

    def test_tells_what_brevo_knows_about_a_cart(self, client):
        cart = ended(ADA, Status.SENT, "cart_updated", "cart:1", finished_at=NOON)
        ended(ADA, Status.SENT, "order_completed", "cart:1", finished_at=NOON + dt.timedelta(seconds=680))

        (verdict,) = verdicts_on(text_of(client.get(contact_of(cart))))

        assert verdict.startswith(
            "Brevo has known about the order since March 1, 2026, 12:11:20, 11 min 20 s after the last cart update."
        )

    def test_judges_no_events_without_an_object(self, client):
        event = track("cart_updated", ADA)

        assert verdicts_on(text_of(client.get(contact_of(event)))) == []

    def test_links_what_replaced_an_event(self, client):
        old = ended(ADA, Status.CANCELLED, object_id="cart:1", reason="superseded", finished_at=in_seconds(1))
        new = ended(ADA, Status.SENT, name="bought", object_id="cart:1")

        page = text_of(client.get(contact_of(old)))

        assert re.search(rf'superseded by</span> <a href="{page_of(new)}">', page)

    def test_pages_through_very_many(self, client):
        OutboxEvent.objects.bulk_create(OutboxEvent.of(Event("viewed", ADA)) for _ in range(120))
        newest = OutboxEvent.objects.order_by("-pk").first()
        url, seen = contact_of(newest), []
        while url:
            page = text_of(client.get(url))
            seen += re.findall(r"viewed #(\d+)</bdi>", page)
            older = re.search(r'href="([^"]*\?before=\d+)"', page)
            url = older and older[1]

        assert len(seen) == len(set(seen)) == 120
        assert "Back to the newest" in page

    @pytest.mark.parametrize("before", ["x", "-1", "9" * 30, "", "²", "0"])
    def test_takes_odd_pages(self, client, before):
        response = client.get(contact_of(ended(ADA)), {"before": before})

        assert response.status_code == 200

    def test_judges_a_cart_by_events_of_other_pages_too(self, client, monkeypatch):
        monkeypatch.setattr("brevo_events.admin.contact.page.ON_PAGE", 1)
        cart = ended(ADA, Status.SENT, "cart_updated", "cart:1")
        order = ended(ADA, Status.SENT, "order_completed", "cart:1")

        for query in ({}, {"before": order.pk}):
            page = text_of(client.get(contact_of(cart), query))
            assert verdicts_on(page)[0].startswith("Brevo has known about the order since")

    def test_counts_up_to_a_limit(self, client, monkeypatch):
        monkeypatch.setattr("brevo_events.admin.contact.page.MAX_COUNTED", 3)
        for _ in range(4):
            event = ended(ADA)

        assert "3+ events" in text_of(client.get(contact_of(event)))

    def test_asks_the_database_as_often_for_many_events_as_for_few(self, client):
        counts = []
        for number in (1, 60):
            for index in range(number):
                attempt(ended(ADA, object_id=f"cart:{index}"))
            event = ended(ADA, Status.CANCELLED, object_id="cart:1", reason="superseded")
            client.get(contact_of(event))
            with CaptureQueriesContext(connection) as queries:
                text_of(client.get(contact_of(event)))
            counts.append(len(queries))

        assert counts[0] == counts[1] <= 14

    @pytest.mark.parametrize("key", ["0", "9" * 30])
    def test_of_no_event_is_not_found(self, client, key):
        assert client.get(f"{LIST}contact/{key}/").status_code == 404

    def test_of_an_erased_event_leads_to_its_page(self, client):
        event = ended(ADA)
        confirm(client, "erase", event)

        assert client.get(contact_of(event)).url == page_of(event)
        assert client.post(f"{contact_of(event)}export/").url == page_of(event)

    def test_shows_only_events_that_a_project_shows(self, client, settings):
        settings.ROOT_URLCONF = "tests.browsing"
        event, hidden = ended(ADA), ended(ADA, name="hidden")

        page = text_of(client.get(contact_of(event).replace("/admin/", "/viewed/")))

        assert "hidden" not in page.partition('<div id="content"')[2].partition("Privacy")[0].replace(
            "visually-hidden", ""
        )
        assert client.get(contact_of(hidden).replace("/admin/", "/viewed/")).status_code == 404
        assert "/admin/brevo_events" not in page


@pytest.mark.django_db
class ConsentTests:
    def ask(self, client, settings, answer):
        settings.BREVO_EVENTS = {"ENGINE": "worker"}
        event = ended(ADA)
        settings.BREVO_EVENTS = {"ENGINE": "worker", "CONSENT": answer}
        found = re.search(r"Consent asked today: <strong>(.*?)</strong>", text_of(client.get(contact_of(event))))
        return found and found[1]

    def test_is_asked_today(self, client, settings):
        assert self.ask(client, settings, lambda event: event.email == ADA) == "yes"
        assert self.ask(client, settings, lambda event: False) == "no"

    def test_is_not_told_if_nothing_asks_for_it(self, client, settings):
        assert self.ask(client, settings, None) is None

    def test_says_if_it_cannot_be_asked(self, client, settings):
        assert self.ask(client, settings, "nowhere.at_all").startswith("could not be asked")


@pytest.mark.django_db
class PermissionTests:
    def test_masks_the_contact_for_those_who_may_not_see_it(self):
        event = ended(ADA, object_id=f"user:{ADA}", data={"items": [], "total": 61, "currency": "EUR"})
        browser = staff(VIEW, ERASE)

        page = text_of(browser.get(contact_of(event)))

        assert "example.com" not in page
        assert "a…@e…" in page
        assert "61.00" not in page
        assert "?q=" not in page.partition('<div id="content"')[2]
        assert "export/" not in page
        assert address_of("erase") in page
        assert browser.post(f"{contact_of(event)}export/").status_code == 403

    def test_has_no_address_nor_its_hash_in_any_address(self, client):
        event = ended(ADA)

        page = text_of(client.get(page_of(event))) + text_of(client.get(contact_of(event)))

        for link in re.findall('(?:href|action)="([^"]*)"', page):
            assert "ada" not in link
            assert event.contact[:8] not in link

    def test_needs_to_view(self):
        event = ended(ADA)
        browser = staff(SEE, ERASE)

        assert browser.get(contact_of(event)).status_code == 403
        assert browser.post(f"{contact_of(event)}export/").status_code == 403

    def test_erases_only_for_those_who_may(self):
        assert address_of("erase") not in text_of(staff(VIEW, SEE).get(contact_of(ended(ADA))))


@pytest.mark.django_db
class ExportTests:
    def test_gives_all_that_is_kept_as_a_file_and_is_logged(self):
        events = [ended(ADA, data={"name": "Émile"}), ended("Ada@Example.com")]
        ended(BOB)
        attempt(events[0], response_code=400, answer="oops")
        browser = staff(VIEW, SEE)

        response = browser.post(f"{contact_of(events[0])}export/")

        told = json.loads(b"".join(response.streaming_content))
        assert [event["id"] for event in told] == [event.pk for event in events]
        assert told[0]["send_attempts"][0]["answer"] == "oops"
        assert told[0]["body"]["eventdata"]["data"] == {"name": "Émile"}
        assert response["Content-Disposition"] == f'attachment; filename="contact-{events[0].pk}.json"'
        assert "no-store" in response["Cache-Control"]
        entry = LogEntry.objects.get()
        assert (entry.object_id, entry.get_change_message()) == (str(events[0].pk), "Exported.")
        assert "Exported by" in text_of(browser.get(page_of(events[0])))

    def test_is_only_done_by_a_button(self, client):
        event, before = ended(ADA), dump()

        assert client.get(f"{contact_of(event)}export/").status_code == 405
        assert dump() == before

    def test_has_only_events_that_a_project_shows(self, client, settings):
        settings.ROOT_URLCONF = "tests.browsing"
        event = ended(ADA)
        ended(ADA, name="hidden")

        response = client.post(f"{contact_of(event)}export/".replace("/admin/", "/viewed/"))

        assert [told["name"] for told in json.loads(b"".join(response.streaming_content))] == ["viewed"]


def cart(number, name, status=Status.SENT, minutes=0):
    at = timezone.now().replace(hour=12, minute=0, second=0, microsecond=0) + dt.timedelta(minutes=minutes)
    finished = None if status in (Status.PENDING, Status.SENDING) else at
    return OutboxEvent(pk=number, name=name, status=status, finished_at=finished, created_at=at)


class CartTests:
    """The verdict on a cart, from the events of its object."""

    @pytest.mark.parametrize(
        ("events", "said", "kind"),
        [
            ([cart(1, "cart_updated")], "Left behind: Brevo has known about this cart since", "pending"),
            ([cart(1, "cart_updated"), cart(2, "cart_deleted")], "that the cart is empty.", "sent"),
            ([cart(1, "cart_updated", Status.FAILED)], "Brevo does not know about this cart.", "failed"),
            ([cart(1, "cart_updated", Status.PENDING)], "Brevo does not know about this cart.", "pending"),
            ([cart(1, "cart_updated", Status.CANCELLED)], "Brevo does not know about this cart.", "cancelled"),
            (
                [cart(1, "cart_updated"), cart(2, "order_completed", Status.FAILED)],
                "not know about the order.",
                "failed",
            ),
            (
                [cart(1, "cart_updated"), cart(2, "order_completed", minutes=7)],
                "7 min after the last cart update.",
                "sent",
            ),
            (
                [cart(1, "cart_updated", Status.FAILED), cart(2, "order_completed")],
                "no cart update came before it.",
                "sent",
            ),
            (
                [cart(1, "order_completed"), cart(2, "cart_updated", minutes=9)],
                "Left behind: Brevo has known about this cart since",
                "pending",
            ),
            (
                [cart(1, "cart_updated"), cart(2, "order_completed"), cart(3, "cart_updated", Status.CANCELLED)],
                "Brevo has known about the order since",
                "sent",
            ),
        ],
    )
    def test_says_what_brevo_knows(self, events, said, kind):
        verdict = verdict_on(events)

        assert said in verdict.text
        assert verdict.kind == kind

    def test_names_the_event_that_brevo_has_not_got(self):
        assert verdict_on([cart(7, "order_completed", Status.PENDING)]).note == "order_completed #7 is still waiting."
        assert verdict_on([cart(7, "cart_updated", Status.FAILED)]).note == "cart_updated #7 failed."

    def test_says_nothing_of_other_objects(self):
        assert verdict_on([cart(1, "viewed"), cart(2, "bought")]) is None
        assert verdict_on([]) is None
