from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.shop import EVENTS

INDEX = "/admin/brevo_events/"
MESSAGE = "Contact is blocklisted"


class ResendTests:
    def test_of_all_that_failed_with_a_message_takes_three_clicks(self, admin, served):
        admin.goto(INDEX)

        admin.get_by_role("link", name="Overview").click()
        group = admin.locator(".brevo-groups > li").filter(has_text=MESSAGE)
        (failed,) = group.get_by_text("events failed").all_inner_texts()
        count = int(failed.split()[0])
        group.get_by_role("button", name=f"Resend {count}…").click()
        admin.locator(".submit-row [type=submit]").click()

        expect(admin.locator(".messagelist")).to_contain_text("will be sent again.")
        expect(admin).to_have_url(f"{served.url}{EVENTS}overview/")

    def test_of_a_group_works_from_the_keyboard(self, admin):
        admin.goto(f"{EVENTS}overview/")
        group = admin.locator(".brevo-groups > li").filter(has_text="is out of range")

        group.get_by_role("button").focus()
        admin.keyboard.press("Enter")

        expect(admin.get_by_role("link", name="Go back")).to_be_visible()
        admin.get_by_role("link", name="Go back").click()
        expect(group).to_be_visible()


class ShowTests:
    def test_leads_to_exactly_the_events_of_a_group(self, admin):
        admin.goto(f"{EVENTS}overview/")
        group = admin.locator(".brevo-groups > li").filter(has_text="is out of range")
        count = int(group.get_by_text("failed").first.inner_text().split()[0])

        group.get_by_role("link", name="Show").click()

        expect(admin.locator("#result_list tbody tr")).to_have_count(count)
