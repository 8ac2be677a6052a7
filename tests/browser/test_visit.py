from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser import shop
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


class VisitTests:
    def test_shows_beside_the_pages_what_is_captured_and_answered(self, page, admin, served):
        sign_in(page, "ada@example.com")
        add(page, "Brume mug")
        expect(told(page, "cart_updated")).to_contain_text("Accepted · 204")
        page.get_by_label("Quantity: Brume mug").fill("3")
        page.get_by_role("button", name="Change").click()
        expect(page.get_by_text("Your cart is up to date.")).to_be_visible()
        expect(told(page, "cart_updated")).to_have_count(2)
        expect(told(page, "cart_updated").first).to_contain_text("Accepted · 204")
        page.get_by_role("link", name="Check out").click()
        page.get_by_role("button", name="Place the order").click()
        expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
        expect(told(page, "order_completed")).to_contain_text("Accepted · 204")
        expect(told(page, "order_completed")).to_contain_text(" ms")

        admin.goto(f"{EVENTS}?q=ada@example.com")
        rows = admin.locator("#result_list tbody tr")
        expect(rows).to_have_count(4)  # with the call of identify
        expect(rows.first).to_contain_text("order_completed")
        expect(rows.first).to_contain_text("Accepted")
        rows.first.get_by_role("link", name="order_completed").click()
        expect(admin.locator(".brevo-timeline")).to_contain_text("204 Accepted")
        expect(admin.locator(".brevo-content")).to_contain_text("Brume mug")
        expect(admin.locator(".brevo-content")).to_contain_text(f"{served.url}/products/brume-mug/")
        expect(admin.locator(".brevo-values").first).to_contain_text("48.40")

    def test_who_is_blocklisted_sees_the_refusal_and_still_shops(self, page):
        sign_in(page, "bob@blocked.example", "Bob")
        add(page, "Minuit watch")

        expect(told(page, "cart_updated")).to_contain_text("Failed · 400")
        expect(told(page, "cart_updated")).to_contain_text("Contact is blocklisted")

    def test_a_failure_of_brevo_is_made_up_for_without_a_reload(self, page):
        sign_in(page, "eve@flaky.example", "Eve")
        add(page, "Minuit watch")

        expect(told(page, "cart_updated")).to_contain_text("Next attempt in")
        loads = []
        page.on("framenavigated", lambda frame: loads.append(frame.url))
        expect(told(page, "cart_updated")).to_contain_text("Accepted · 204")
        assert loads == []


class StoryTests:
    @pytest.mark.parametrize("has_script", [True, False])
    def test_ada_orders_while_brevo_is_down_and_gets_no_reminder(self, new_shop, browser, has_script):
        page = browser.new_page(base_url=new_shop.url, java_script_enabled=has_script)

        def wait_for(locator, text):
            for _ in range(60):
                if has_script or text in locator.inner_text():
                    break
                page.wait_for_timeout(500)
                page.get_by_role("link", name="Refresh").click()
            expect(locator).to_contain_text(text)

        page.goto("/")
        expect(page.locator(".panel")).to_contain_text("the shop does not know yours")
        page.get_by_role("button", name="Ada").click()
        expect(page.get_by_role("button", name="Ada", pressed=True)).to_be_visible()
        add(page, "Brume mug")
        wait_for(told(page, "cart_updated").first, "Accepted · 204")
        expect(page.locator(".verdict")).to_contain_text("Reminder to Ada in 0:")

        page.get_by_role("button", name="Down").click()
        expect(page.get_by_role("heading", name="Your cart")).to_be_visible()
        page.get_by_role("link", name="Check out").click()
        page.get_by_role("button", name="Place the order").click()
        wait_for(told(page, "order_completed").first, "Next attempt in 0:")

        page.get_by_role("button", name="Works").click()
        wait_for(told(page, "order_completed").first, "Accepted · 204")
        expect(page.locator(".verdict")).to_contain_text("No reminder: Ada ordered")
        page.context.close()

    def test_a_refused_key_holds_everything_until_it_is_accepted_again(self, new_shop, browser):
        page = browser.new_page(base_url=new_shop.url)
        page.goto("/")
        page.get_by_role("button", name="Refuses key").click()
        # Not Eve, whose first answer is an error: it would double the hold.
        sign_in(page, "kim@example.com", "Kim")
        add(page, "Brume mug")
        expect(page.locator(".delivery")).to_contain_text("Brevo does not accept the key (401). Next try in 0:")
        expect(told(page, "cart_updated")).to_contain_text("Waits until delivery goes on.")

        page.get_by_role("button", name="Works").click()

        expect(page.locator(".delivery")).to_have_count(0)
        expect(told(page, "cart_updated")).to_contain_text("Accepted · 204")
        page.context.close()

    def test_link_in_the_terminal_leads_to_the_overview_once(self, new_shop, browser):
        def expect_heading(address, heading):
            page = browser.new_page()
            page.goto(address)
            expect(page.get_by_role("heading", name=heading)).to_be_visible()
            page.context.close()

        link = new_shop.link
        expect_heading(link, "Overview")
        expect_heading(link, "This link has been used")
        expect_heading(new_shop.link, "Overview")


@pytest.fixture(scope="module")
def new_shop(history, tmp_path_factory):
    """A shop whose Brevo may be broken."""
    with shop.serving(tmp_path_factory.mktemp("shop"), history) as served:
        yield served
