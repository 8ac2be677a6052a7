"""The Setup page in the admin: the doctor's findings, and the button that calls Brevo."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connections
from django.urls import resolve

from brevo_events import track
from brevo_events.models import Gate, OutboxEvent
from tests.browsing import ADA, LIST, browser_of, dump, root, staff, text_of
from tests.conftest import KEY
from tests.doctoring import API_KEY, HERE, IN_BREVO, THERE, configure, paths

pytestmark = pytest.mark.django_db(transaction=True)

SETUP, CHECK = f"{LIST}setup/", f"{LIST}setup/check/"
VIEW, PAUSE = "view_outboxevent", "pause_delivery"


def outcomes(page):
    """The outcome of each finding, in order."""
    return re.findall(r'<span class="brevo-status[^>]*>([^<]+)</span>', page)


class PageTests:
    def test_shows_what_can_be_seen_without_a_call(self, brevo):
        page = text_of(staff(VIEW).get(SETUP))

        assert outcomes(page) == ["Good"] * len(HERE) + ["Not seen"] * len(THERE + IN_BREVO)
        assert "Nothing is wrong, as far as it can be seen from here." in page
        assert brevo.requests == []

    def test_says_what_is_wrong_and_what_to_do(self, brevo):
        Gate.load().pause()

        page = text_of(root().get(SETUP))

        assert outcomes(page)[:5] == ["Good", "Good", "Good", "Not seen", "Wrong"]
        assert "1 thing is wrong." in page
        assert "Resume it: on the overview in the admin" in page

    def test_leads_to_brevos_own_pages_and_is_linked_from_the_overview(self, brevo):
        browser = root()

        assert 'href="https://help.brevo.com/hc/en-us/articles/' in text_of(browser.get(SETUP))
        assert f'href="{SETUP}"' in text_of(browser.get(f"{LIST}overview/"))

    def test_is_for_those_who_may_look(self, brevo):
        assert staff().get(SETUP).status_code == 403

    def test_has_no_button_for_those_who_may_only_look(self, brevo):
        assert f'action="{CHECK}"' not in text_of(staff(VIEW).get(SETUP))
        assert f'action="{CHECK}"' in text_of(staff(VIEW, PAUSE).get(SETUP))

    def test_needs_nothing_inline(self, brevo):
        content = text_of(root().get(SETUP)).partition('<div id="content"')[2]

        assert not re.search(r"<style|<script|\sstyle=|\son\w+=|javascript:", content)

    def test_changes_nothing(self, brevo):
        browser = root()
        before = dump()

        browser.get(SETUP)

        assert dump() == before


class ButtonTests:
    def test_calls_brevo_without_an_address_and_sends_nothing(self, brevo):
        page = text_of(staff(VIEW, PAUSE).post(CHECK))

        assert outcomes(page).count("Good") == len(HERE + THERE) - 3
        assert {request.method for request in brevo.requests} == {"GET"}

    def test_sends_one_event_for_an_address(self, brevo):
        page = text_of(staff(VIEW, PAUSE).post(CHECK, {"email": f" {ADA} "}))

        assert outcomes(page) == ["Good"] * len(HERE + THERE) + ["Not seen"] * len(IN_BREVO)
        assert [path for path in paths(brevo) if path.startswith("2/")] == [
            "2/trackEvent",
            "2/identify",
            "2/trackEvent",
        ]
        assert not OutboxEvent.objects.exists()

    def test_leaves_an_entry_in_the_log_without_the_address(self, brevo):
        staff(VIEW, PAUSE).post(CHECK, {"email": ADA})

        entry = LogEntry.objects.get()
        assert str(entry.get_change_message()) == "Checked the setup with a test event."
        assert ADA not in f"{entry.object_repr} {entry}"

    def test_refuses_what_is_no_address_and_calls_nobody(self, brevo):
        page = text_of(root().post(CHECK, {"email": "ada"}))

        assert "This is not an e-mail address like" in page
        assert brevo.requests == []

    @pytest.mark.parametrize("permissions", [(), (VIEW,), (PAUSE,), (VIEW, "resend_outboxevent")])
    def test_is_for_those_who_may_pause_and_look(self, brevo, permissions):
        assert staff(*permissions).post(CHECK, {"email": ADA}).status_code == 403
        assert brevo.requests == []

    def test_is_no_link(self, brevo):
        assert root().get(CHECK).status_code == 405
        assert browser_of(User.objects.get(username="root"), enforce_csrf_checks=True).post(CHECK).status_code == 403
        assert brevo.requests == []

    def test_opens_no_transaction_around_the_calls(self):
        assert resolve(CHECK).func._non_atomic_requests == set(connections)

    def test_shows_no_key_and_what_brevo_says_as_text(self, brevo, settings):
        brevo.account_key = KEY
        configure(settings, API_KEY=lambda: API_KEY)

        page = text_of(root().post(CHECK, {"email": '"<b>"@example.com'}))

        assert "<b>" not in page
        assert not any(secret in page for secret in (KEY, API_KEY))

    def test_says_of_a_hold_what_the_banner_says(self, brevo):
        track("a", ADA)
        Gate.load().close("account", 401)

        assert "Delivery is on hold: Brevo does not accept the key (401)." in text_of(root().post(CHECK))
