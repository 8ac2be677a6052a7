from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser import chromium, shop
from tests.browser.guard import Guard
from tests.browser.made import MESSAGE, REFUSED

WIDE = {"width": 1280, "height": 900}
PATIENCE = 20_000  # milliseconds

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def _is_installed():
    if not chromium.executable():
        pytest.skip(f"None of {', '.join(chromium.NAMES)} is installed.")


@pytest.fixture(scope="session")
def history(_is_installed, tmp_path_factory):
    """A database with the month of sample history."""
    database = tmp_path_factory.mktemp("history") / "history.sqlite3"
    shop.write_history(database)
    return database


@pytest.fixture(scope="session")
def served(history, tmp_path_factory):
    """The shop, with the sample history."""
    with shop.serving(tmp_path_factory.mktemp("shop"), history) as served:
        yield served


@pytest.fixture(scope="module")
def browser(_is_installed):
    # Only for one module: while it runs, its event loop makes Django refuse database access to other tests.
    with chromium.running() as browser:
        yield browser


@pytest.fixture(scope="module")
def session(browser, served):
    """The cookies of an administrator."""
    page = browser.new_page(base_url=served.url)
    page.goto(served.link)
    page.get_by_role("button", name="Log out").wait_for()
    cookies = page.context.storage_state()
    page.context.close()
    return cookies


@pytest.fixture
def open_page(browser, served):
    """A function that opens a page for a new visitor; at the end, fails if a page did something forbidden."""
    guards = []

    def open_page(**options):
        context = browser.new_context(base_url=served.url, viewport=WIDE, locale="en-GB", **options)
        context.set_default_timeout(PATIENCE)
        guards.append(Guard(context, served.url))
        return context.new_page()

    yield open_page
    assert [complaint for guard in guards for complaint in guard.close()] == []


@pytest.fixture
def page(open_page):
    """A page of a visitor whom the shop doesn't know."""
    return open_page()


@pytest.fixture
def admin(open_page, session):
    """A page of an administrator."""
    return open_page(storage_state=session)


@pytest.fixture
def group(admin, served):
    """A group of two failures on the overview."""
    served.python(REFUSED)
    admin.goto(shop.OVERVIEW)
    group = admin.locator(".brevo-groups > li").filter(has_text=MESSAGE).filter(has_text="2 events failed")
    shop.reload_until(admin, group.count)
    return group
