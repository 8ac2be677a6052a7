from __future__ import annotations

import time

import pytest
from playwright.sync_api import expect

from tests.browser.shop import EVENTS

PATIENCE = 15  # seconds


def page_of(pk):
    return f"{EVENTS}{pk}/change/"


def reload_until_sent(page):
    end = time.monotonic() + PATIENCE
    status = page.locator(".field-status_label .brevo-status")
    while status.inner_text() != "Sent" and time.monotonic() < end:
        page.wait_for_timeout(200)
        page.reload()
    expect(status).to_have_text("Sent")
    expect(status).to_have_class("brevo-status brevo-status-sent")


@pytest.mark.slow
class ResendTests:
    def test_makes_a_failed_event_green(self, admin, served):
        admin.goto(page_of(served.resendable()))
        expect(admin.locator(".field-status_label")).to_contain_text("Failed")

        admin.get_by_role("button", name="Resend").click()
        expect(admin.get_by_text("1 event becomes due again")).to_be_visible()
        admin.get_by_role("button", name="Resend").click()
        expect(admin.get_by_text("1 event is due again.")).to_be_visible()

        reload_until_sent(admin)
        expect(admin.locator(".brevo-timeline")).to_contain_text("Request: 204 after")

    def test_works_from_the_keyboard_and_shows_where_one_is(self, admin, served):
        admin.goto(page_of(served.resendable(1)))

        self._tab_to(admin, "Resend")
        admin.keyboard.press("Enter")
        expect(admin.get_by_text("1 event becomes due again")).to_be_visible()
        self._tab_to(admin, "Resend")
        admin.keyboard.press("Enter")
        expect(admin.get_by_text("1 event is due again.")).to_be_visible()

        reload_until_sent(admin)

    def _tab_to(self, page, name):
        button = page.get_by_role("button", name=name)
        looks = (
            "element => { const s = getComputedStyle(element); return [s.outline, s.boxShadow, s.backgroundColor]; }"
        )
        before = button.evaluate(looks)
        for _ in range(60):
            page.keyboard.press("Tab")
            if button.evaluate("element => element === document.activeElement"):
                break
        else:
            pytest.fail(f"{name} is not reached by Tab.")
        assert button.evaluate(looks) != before
        assert button.evaluate("element => element.matches(':focus-visible')")


@pytest.mark.slow
class CancelTests:
    def test_ends_what_waits(self, admin, served):
        pk = served.event("pending")
        admin.goto(page_of(pk))

        admin.get_by_role("button", name="Cancel event").click()
        expect(admin.get_by_text("1 event does not go out any more.")).to_be_visible()
        assert served.status(pk) == "pending"
        admin.get_by_role("button", name="Cancel the events").click()

        expect(admin.get_by_text("1 event is cancelled.")).to_be_visible()
        expect(admin.locator(".field-status_label")).to_contain_text("Cancelled by an operator")
        assert served.status(pk) == "cancelled"


@pytest.mark.slow
class EraseTests:
    def test_leaves_no_address_on_any_page(self, admin, served):
        pk = served.event("sent")
        admin.goto(page_of(pk))
        address = admin.locator(".field-email .readonly").inner_text()
        expect(admin.locator("#brevo-body")).to_contain_text(address)
        others = admin.locator(".brevo-others a").evaluate_all("links => links.map(link => link.getAttribute('href'))")

        admin.get_by_role("button", name="Erase contact").click()
        expect(admin.get_by_text(f"1 contact: {address}")).to_be_visible()
        admin.get_by_role("button", name="Erase for good").click()

        expect(admin.get_by_text("erased.")).to_be_visible()
        for path in (page_of(pk), others[0], EVENTS):
            admin.goto(path)
            assert address not in admin.content()
        admin.goto(f"{EVENTS}?q={address}")
        expect(admin.locator("#result_list tbody tr")).to_have_count(0)


@pytest.mark.slow
class CopyTests:
    @pytest.mark.parametrize(("which", "begins"), [("body", "{\n"), ("curl", "curl -X POST ")])
    def test_copies(self, open_page, session, served, which, begins):
        page = open_page(storage_state=session, permissions=["clipboard-read", "clipboard-write"])
        page.goto(page_of(served.event("sent", 1)))

        page.locator(f"[data-copies=brevo-{which}]").click()

        expect(page.get_by_text("Copied.")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == page.locator(f"#brevo-{which}").text_content()
        assert copied.startswith(begins)

    def test_selects_where_there_is_no_clipboard(self, admin, served):
        admin.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        admin.goto(page_of(served.event("sent", 1)))

        admin.locator("[data-copies=brevo-body]").click()

        expect(admin.get_by_text("Selected: press Ctrl+C.")).to_be_visible()
        assert admin.evaluate("getSelection().toString()") == admin.locator("#brevo-body").text_content()
