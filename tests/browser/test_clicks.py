from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.shop import EVENTS, reload_until


def page_of(pk):
    return f"{EVENTS}{pk}/change/"


def contact_of(pk):
    return f"{EVENTS}contact/{pk}/"


def reload_until_sent(page):
    status = page.locator("h1 .brevo-status")
    reload_until(page, lambda: status.inner_text() == "Accepted")
    expect(status).to_have_text("Accepted")
    expect(status).to_have_class("brevo-status brevo-status-sent")


class ResendTests:
    def test_makes_a_failed_event_green(self, admin, served):
        admin.goto(page_of(served.resendable()))
        expect(admin.locator(".brevo-answer")).to_contain_text("refused")

        admin.get_by_role("button", name="Resend").click()
        expect(admin.get_by_text("1 event will be resent")).to_be_visible()
        admin.get_by_role("button", name="Resend").click()
        expect(admin.get_by_text("1 event will be sent again.")).to_be_visible()

        reload_until_sent(admin)
        expect(admin.locator(".brevo-answer")).to_contain_text("It had failed")
        expect(admin.locator(".brevo-answer")).to_contain_text("admin resent it.")
        steps = admin.locator(".brevo-step strong").all_inner_texts()
        assert steps == ["Captured", "400 Bad Request", "Failed", "Resent by admin", "204 Accepted"]

    def test_works_from_the_keyboard_and_shows_where_one_is(self, admin, served):
        admin.goto(page_of(served.resendable(1)))

        self._tab_to(admin, "Resend")
        admin.keyboard.press("Enter")
        expect(admin.get_by_text("1 event will be resent")).to_be_visible()
        self._tab_to(admin, "Resend")
        admin.keyboard.press("Enter")
        expect(admin.get_by_text("1 event will be sent again.")).to_be_visible()

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


class CancelTests:
    def test_ends_what_waits(self, admin, served):
        pk = served.event("pending")
        admin.goto(page_of(pk))

        admin.get_by_role("button", name="Cancel event").click()
        expect(admin.get_by_text("1 event will be cancelled and not sent.")).to_be_visible()
        assert served.status(pk) == "pending"
        admin.get_by_role("button", name="Cancel 1 event").click()

        expect(admin.get_by_text("1 event was cancelled.")).to_be_visible()
        expect(admin.locator(".brevo-answer")).to_contain_text("Not sent: admin cancelled it")
        assert served.status(pk) == "cancelled"


class EraseTests:
    def test_leaves_no_address_on_any_page(self, admin, served):
        same = "SELECT 1 FROM brevo_events_outboxevent AS other WHERE other.contact = event.contact"
        pk = served.event("sent", where=f"EXISTS ({same} AND other.id <> event.id)")
        admin.goto(page_of(pk))
        address = admin.locator(".brevo-facts dd a").first.inner_text()
        expect(admin.locator("#brevo-body")).to_contain_text(address)
        others = admin.locator(".brevo-list a").evaluate_all("links => links.map(link => link.getAttribute('href'))")

        admin.get_by_role("button", name="Erase contact").click()
        expect(admin.get_by_text(f"1 contact: {address}")).to_be_visible()
        admin.get_by_role("button", name="for good").click()

        expect(admin.locator(".messagelist")).to_contain_text("erased.")
        for path in (page_of(pk), others[0], EVENTS):
            admin.goto(path)
            assert address not in admin.content()
        admin.goto(f"{EVENTS}?q={address}")
        expect(admin.locator("#result_list tbody tr")).to_have_count(0)


class CopyTests:
    @pytest.mark.parametrize(("which", "begins"), [("body", "{\n"), ("curl", "curl -X POST ")])
    def test_copies(self, open_page, session, served, which, begins):
        page = open_page(storage_state=session, permissions=["clipboard-read", "clipboard-write"])
        page.goto(page_of(served.event("sent", 1)))

        page.get_by_text("JSON" if which == "body" else "As a curl command", exact=True).click()
        page.locator(f"[data-copies=brevo-{which}]").click()

        expect(page.get_by_text("Copied.")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == page.locator(f"#brevo-{which}").text_content()
        assert copied.startswith(begins)

    def test_selects_where_there_is_no_clipboard(self, admin, served):
        admin.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        admin.goto(page_of(served.event("sent", 1)))

        admin.get_by_text("JSON", exact=True).click()
        admin.locator("[data-copies=brevo-body]").click()

        expect(admin.get_by_text("Selected: press Ctrl+C.")).to_be_visible()
        assert admin.evaluate("getSelection().toString()") == admin.locator("#brevo-body").text_content()
