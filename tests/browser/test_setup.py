from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.shop import OVERVIEW


class SetupTests:
    @pytest.mark.parametrize("has_script", [True, False])
    def test_finds_all_well_in_the_shop_and_sends_one_event(self, open_page, session, has_script):
        page = open_page(storage_state=session, java_script_enabled=has_script)
        page.goto(OVERVIEW)
        page.get_by_role("link", name="Setup").click()
        expect(page.get_by_role("heading", name="Setup")).to_be_visible()
        expect(page.get_by_text("Not tried yet.").first).to_be_visible()

        page.get_by_label("E-mail address").fill("ada@example.com")
        page.get_by_role("button", name="Check with Brevo").click()

        expect(page.get_by_text("Brevo accepted the event.")).to_have_count(2)
        expect(page.locator(".brevo-findings .brevo-status-failed")).to_have_count(0)
