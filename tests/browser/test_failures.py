from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.shop import OVERVIEW

INDEX = "/admin/brevo_events/"


class ResendTests:
    def test_of_all_that_failed_with_a_message_takes_three_clicks(self, admin, served):
        admin.goto(INDEX)

        admin.get_by_role("link", name="Overview").click()
        group = admin.locator(".brevo-groups > li").filter(has_text="Contact is blocklisted")
        (failed,) = group.get_by_text("events failed").all_inner_texts()
        count = int(failed.split()[0])
        group.get_by_role("button", name=f"Resend {count}…").click()
        admin.locator(".submit-row [type=submit]").click()

        expect(admin.locator(".messagelist")).to_contain_text("will be sent again.")
        expect(admin).to_have_url(f"{served.url}{OVERVIEW}")

    def test_of_a_group_works_from_the_keyboard(self, admin, group):
        group.get_by_role("button").focus()
        admin.keyboard.press("Enter")

        expect(admin.get_by_role("link", name="Go back")).to_be_visible()
        admin.get_by_role("link", name="Go back").click()
        expect(group).to_be_visible()


class ShowTests:
    def test_leads_to_exactly_the_events_of_a_group(self, admin, group):
        group.get_by_role("link", name="Show").click()

        expect(admin.locator("#result_list tbody tr")).to_have_count(2)
