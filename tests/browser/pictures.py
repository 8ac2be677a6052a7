"""
Take the pictures of the README: ``python -m tests.browser.pictures``, or ``make pictures``.

From a shop of its own with the sample history, which ends when the picture is taken: no two runs give the same.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import expect

from tests.browser import chromium, shop
from tests.browser.test_visit import add, sign_in, told

FOLDER = Path(__file__).parent.parent.parent / "docs" / "pictures"
SIZE = {"width": 1200, "height": 760}
MOST = 200_000  # bytes of a picture


def overview(page, _shop):
    page.goto(shop.OVERVIEW)
    return 1200


def events(page, _shop):
    page.goto(shop.EVENTS)


def event(page, served):
    page.goto(f"{shop.EVENTS}{served.event('failed')}/change/")
    return 900


def confirmation(page, _shop):
    page.goto(shop.EVENTS)
    page.get_by_label("Select all").check()
    page.get_by_label("Action:").select_option("resend")
    page.locator(".actions button[name=index]").click()
    expect(page.get_by_text("Take in what is skipped")).to_be_visible()
    return 420


def visit(page, _shop):
    sign_in(page, "eve@flaky.example", "Eve")
    add(page, "Brume mug")
    expect(told(page, "cart_updated")).to_contain_text("Sent · 204")
    add(page, "Minuit watch")
    expect(told(page, "cart_updated").first).to_contain_text("Next attempt at")
    page.goto("/")
    expect(page.locator(".live")).to_be_visible()


def main():
    """Take each picture, and say how large it is."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, shop.serving(Path(folder)) as served, chromium.running() as browser:
        page = browser.new_page(base_url=served.url, viewport=SIZE, color_scheme="light", locale="en-GB")
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        page.goto("/admin/login/?next=/admin/")
        page.get_by_label("Username").fill("admin")
        page.get_by_label("Password").fill(served.password)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
        # Without the navigation of the site, which tells nothing about these pages.
        page.evaluate("localStorage.setItem('django.admin.navSidebarIsOpen', 'false')")
        too_large = [
            take.__name__ for take in (overview, events, event, confirmation, visit) if _size(page, served, take) > MOST
        ]
    sys.exit(f"Too large: {', '.join(too_large)}" if too_large else 0)


def _size(page, served, take):
    height = take(page, served) or SIZE["height"]
    page.set_viewport_size({**SIZE, "height": height})
    page.evaluate("document.activeElement.blur()")
    path = FOLDER / f"{take.__name__}.png"
    page.screenshot(path=path, animations="disabled")
    page.set_viewport_size(SIZE)
    if shutil.which("pngquant"):
        subprocess.run(["pngquant", "--force", "--skip-if-larger", "--output", path, path], check=False)
    print(f"{path.relative_to(FOLDER.parent.parent)}: {path.stat().st_size:,} bytes")
    return path.stat().st_size


if __name__ == "__main__":
    main()
