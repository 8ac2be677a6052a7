from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.shop import EVENTS


def sign_in(page, email, name="Ada"):
    page.goto("/account/")
    page.get_by_label("First name").fill(name)
    page.get_by_label("E-mail address").fill(email)
    # Only the shop is asked about the address, not the browser.
    page.locator("form.fields").evaluate("form => form.noValidate = true")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("You are signed in as")).to_be_visible()


def add(page, product):
    page.goto("/")
    page.get_by_role("listitem").filter(has_text=product).get_by_role("button", name="Add to cart").click()
    expect(page.get_by_text(f"{product} is in your cart.")).to_be_visible()


def told(page, name):
    """The events of that name in the panel, the newest first."""
    return page.locator(".panel [data-event]").filter(has_text=name)


@pytest.mark.slow
class VisitTests:
    def test_shows_beside_the_pages_what_is_captured_and_answered(self, page, admin):
        sign_in(page, "ada@example.com")
        add(page, "Brume mug")
        expect(told(page, "cart_updated")).to_contain_text("Sent · 204")
        page.get_by_label("Quantity: Brume mug").fill("3")
        page.get_by_role("button", name="Change").click()
        expect(page.get_by_text("Your cart is up to date.")).to_be_visible()
        expect(told(page, "cart_updated")).to_have_count(2)
        expect(told(page, "cart_updated").first).to_contain_text("Sent · 204")
        page.get_by_role("link", name="Check out").click()
        page.get_by_role("button", name="Place the order").click()
        expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
        expect(told(page, "order_completed")).to_contain_text("Sent · 204")
        expect(told(page, "order_completed")).to_contain_text(" ms")

        admin.goto(f"{EVENTS}?q=ada@example.com")
        rows = admin.locator("#result_list tbody tr")
        expect(rows).to_have_count(3)
        expect(rows.first).to_contain_text("order_completed")
        expect(rows.first).to_contain_text("Sent")
        rows.first.get_by_role("link", name="order_completed").click()
        expect(admin.locator(".brevo-timeline")).to_contain_text("Request: 204 after")
        expect(admin.locator("#brevo-body")).to_contain_text('"total": 48.4')

    def test_who_is_blocklisted_sees_the_refusal_and_still_shops(self, page):
        sign_in(page, "bob@blocked.example", "Bob")
        add(page, "Minuit watch")

        expect(told(page, "cart_updated")).to_contain_text("Failed · 400")
        expect(told(page, "cart_updated")).to_contain_text("Contact is blocklisted")

    def test_a_failure_of_brevo_is_made_up_for_without_a_reload(self, page):
        sign_in(page, "eve@flaky.example", "Eve")
        add(page, "Minuit watch")

        expect(told(page, "cart_updated")).to_contain_text("Next attempt at")
        loads = []
        page.on("framenavigated", lambda frame: loads.append(frame.url))
        expect(told(page, "cart_updated")).to_contain_text("Sent · 204")
        assert loads == []
