from __future__ import annotations

import pytest
from django.utils.html import escape

from brevo_events import track
from brevo_events.models import OutboxEvent, Status
from tests.browsing import (
    ACTIONS,
    ADA,
    BOB,
    LIST,
    ask,
    attempt,
    confirm,
    ended,
    messages_of,
    page_of,
    selected,
    staff,
    text_of,
)

pytestmark = pytest.mark.usefixtures("by_hand")

MARKUP = """"'><pwned>${alert(1)}</pwned><script>alert(1)</script>"""


@pytest.fixture
def viewer(db):
    return staff("view_outboxevent")


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
    """Text from outside is shown as text everywhere."""

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
        now = event.created_at
        OutboxEvent.objects.update(status=Status.FAILED, finished_at=now, failed_at=now, failure="f" * 16)

        self.assert_is_text(client.get(f"{LIST}overview/"), least=2)

    def test_where_addresses_are_masked(self, event):
        browser = staff("view_outboxevent", "erase_contact")
        OutboxEvent.objects.update(email="<@<script>alert(1)")

        for response in (browser.get(LIST), browser.get(page_of(event)), ask(browser, "erase", event)):
            self.assert_is_text(response, least=0)
            assert "&lt;…@&lt;…" in text_of(response)
