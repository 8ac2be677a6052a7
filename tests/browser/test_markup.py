from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser import shop
from tests.browser.shop import EVENTS, OVERVIEW
from tests.browser.test_visit import sign_in

SCRIPT, IMAGE = "<script>alert(1)</script>", "\"><img src=x onerror='alert(2)'>"
NAME = f"evil{SCRIPT}"
ADDRESS = '"<svg/onload=alert(3)>"@example.com'
OBJECT = f"{{{{7*7}}}}'{IMAGE}"
MESSAGE = f"no {SCRIPT} {IMAGE} {{{{7*7}}}} &lt;b&gt; '"
CAPTURE = f"""
import json
from django.utils import timezone
from brevo_events import track
from brevo_events.models import OutboxEvent, SendAttempt

now = timezone.now()
for number in range(2):
    event = track({NAME!r}, {ADDRESS!r}, object_id={OBJECT!r}, data={{{SCRIPT!r}: {MESSAGE!r}}}, delay=3600)
OutboxEvent.objects.filter(pk=event.pk).update(
    status="failed", reason="rejected", response_code=400, attempts=1, finished_at=now, due_at=None,
    failure="f" * 16, failed_at=now,
)
SendAttempt.objects.create(
    event=event, started_at=now, duration_ms=1, response_code=400, error={SCRIPT!r},
    answer=json.dumps({{"code": {SCRIPT!r}, "message": {MESSAGE!r}}}),
)
"""


@pytest.fixture(scope="module")
def served(history, tmp_path_factory):
    """A shop of its own, which has counted nothing yet."""
    with shop.serving(tmp_path_factory.mktemp("shop"), history) as served:
        served.python(CAPTURE)
        yield served


class MarkupTests:
    """Each text as a whole, as it was captured; the guard of the page sees what would run or load."""

    def test_is_text_in_the_list(self, admin):
        admin.goto(EVENTS)

        # Signing in to the shop, as another test does, adds a row of that address.
        row = admin.locator("#result_list tbody tr").filter(has_text=NAME).first
        expect(row).to_contain_text(ADDRESS)
        admin.get_by_label("Event", exact=True).select_option(NAME)
        admin.get_by_role("button", name="Apply").click()
        expect(admin.locator("#result_list tbody tr")).to_have_count(2)

    def test_is_text_on_the_page_of_an_event(self, open_page, session):
        page = open_page(storage_state=session, permissions=["clipboard-read", "clipboard-write"])
        self._open_event(page)

        expect(page).to_have_title(f"{NAME} #{self._number(page)} | Django site admin")
        expect(page.locator(".brevo-answer")).to_contain_text(MESSAGE)
        expect(page.locator(".brevo-facts")).to_contain_text(ADDRESS)
        expect(page.locator(".brevo-facts")).to_contain_text(OBJECT)
        expect(page.locator(".brevo-timeline")).to_contain_text(f"{SCRIPT}: {MESSAGE}")
        expect(page.locator(".brevo-values")).to_contain_text(SCRIPT)
        expect(page.locator("#brevo-body")).to_contain_text(SCRIPT)
        expect(page.locator(".brevo-list")).to_contain_text(NAME)
        page.get_by_text("As a curl command").click()
        page.locator("[data-copies=brevo-curl]").click()
        expect(page.get_by_text("Copied.")).to_be_visible()
        assert SCRIPT in page.evaluate("navigator.clipboard.readText()")

    def test_is_text_on_the_page_of_a_contact(self, admin):
        self._open_event(admin)

        admin.get_by_role("link", name=ADDRESS).click()

        expect(admin.get_by_role("heading", level=1)).to_contain_text(ADDRESS)
        # Signing in to the shop, as another test does, adds an event without an object.
        expect(admin.get_by_role("heading", level=2).filter(has_text=OBJECT)).to_have_count(1)
        expect(admin.locator(".brevo-list th[scope=row]").filter(has_text=NAME)).to_have_count(2)

    @pytest.mark.parametrize("button", ["Resend", "Erase contact"])
    def test_is_text_before_an_action(self, admin, button):
        self._open_event(admin)

        admin.get_by_role("button", name=button).click()

        expect(admin.get_by_role("link", name="Go back")).to_be_visible()
        if button != "Resend":
            expect(admin.locator("#content")).to_contain_text(ADDRESS)

    def test_is_text_on_the_overview(self, admin):
        admin.goto(OVERVIEW)

        failures = admin.get_by_role("region", name="Most frequent failures")
        expect(failures).to_contain_text(NAME)
        expect(failures).to_contain_text(MESSAGE)

    def test_is_text_in_the_panel_of_the_shop(self, page):
        sign_in(page, ADDRESS, SCRIPT)

        panel = page.locator(".panel")
        expect(panel).to_contain_text(NAME)
        expect(panel).to_contain_text(OBJECT)
        expect(panel).to_contain_text(MESSAGE[:50])
        expect(page.get_by_role("heading", name=f"Hello {SCRIPT}")).to_be_visible()
        expect(page.locator(".live")).to_be_visible()

    def _open_event(self, page):
        page.goto(EVENTS)
        page.locator("#result_list").get_by_role("link", name=NAME).first.click()

    def _number(self, page):
        return page.url.rstrip("/").split("/")[-2]
