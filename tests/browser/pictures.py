"""
Take the screenshots for the README: ``python -m tests.browser.pictures [NAME …]``, or ``make pictures``.

They come from a separate shop with the sample history, which ends at the time
of the screenshot, so no two runs give the same result. The shop's clock is set
to a time zone where it is a busy hour of the evening.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
import zoneinfo
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect

from tests.browser import chromium, shop
from tests.browser.story import STORY_SIZE, frames

FOLDER = Path(__file__).parent.parent.parent / "docs" / "pictures"
SIZE = {"width": 1200, "height": 760}
SCHEMES = {"light": "", "dark": "-dark"}
LIGHT_ONLY = {"confirmation"}  # not in the README
MOST, MOST_MOVING = 300_000, 600_000  # bytes
BUSY_HOUR = 20
SHOWN, LAST_SHOWN = 2600, 5000  # milliseconds of a frame


def overview(page, _shop):
    page.goto(shop.OVERVIEW)
    return page, 1200


def event(page, served):
    page.goto(f"{shop.EVENTS}{served.event('failed')}/change/")
    return page, 900


def failures(page, _shop):
    page.goto(shop.OVERVIEW)
    return page.get_by_role("region", name=re.compile("failures", re.IGNORECASE)).first, SIZE["height"]


def confirmation(page, _shop):
    page.goto(f"{shop.EVENTS}?status=failed")
    page.get_by_label("Select all").check()
    page.get_by_label("Action:").select_option("resend")
    page.locator(".actions button[name=index]").click()
    expect(page.get_by_role("link", name="Go back")).to_be_visible()
    return page, 460


def hold(page, _shop):
    page.goto("/")
    page.get_by_role("button", name="Refuses key").click()
    page.get_by_role("button", name="Ada").click()
    page.goto("/")
    page.get_by_role("button", name="Add to cart").first.click()
    expect(page.locator(".delivery")).to_contain_text("Delivery is on hold")
    page.goto(shop.OVERVIEW)
    return page, 420


# In this order, because the last one breaks what the others show.
STILLS = {take.__name__: take for take in (overview, event, failures, confirmation, hold)}


def story(browser, served):
    """Play the story once, and save it in both colour schemes."""
    context = browser.new_context(**_options(served, STORY_SIZE))
    moving = {scheme: [] for scheme in SCHEMES}
    page = context.new_page()
    for _frame in frames(page):
        for scheme, pictures in moving.items():
            pictures.append(Image.open(io.BytesIO(_screenshot(page, page, scheme))).convert("RGB"))
    context.close()
    for scheme, (first, *others) in moving.items():
        path = FOLDER / f"story{SCHEMES[scheme]}.webp"
        durations = [*[SHOWN] * len(others), LAST_SHOWN]
        first.save(path, save_all=True, append_images=others, duration=durations, loop=0, quality=60, method=6)
        yield path, MOST_MOVING


def stills(browser, served, names):
    """Take those screenshots of the admin, each in both colour schemes."""
    context = browser.new_context(**_options(served, SIZE))
    page = context.new_page()
    page.goto(served.link)
    # Without the site's navigation, which says nothing about these pages.
    page.evaluate("localStorage.setItem('django.admin.navSidebarIsOpen', 'false')")
    for name in names:
        what, height = STILLS[name](page, served)
        page.set_viewport_size({**SIZE, "height": height})
        page.evaluate("document.activeElement.blur()")
        for scheme, ending in SCHEMES.items():
            if scheme != "light" and name in LIGHT_ONLY:
                continue
            picture = Image.open(io.BytesIO(_screenshot(page, what, scheme))).convert("RGB")
            path = FOLDER / f"{name}{ending}.png"
            # Few colours but many shades of them: a palette looks the same, and is a third as large.
            picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
            yield path, MOST
        page.set_viewport_size(SIZE)
    context.close()


def main(names):
    """Take the screenshots, or only the named ones, and print the size of each."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=60_000)
    too_large = []
    for path, most in _all(names or ["story", *STILLS]):
        print(f"{path.relative_to(FOLDER.parent.parent)}: {path.stat().st_size:,} bytes")
        too_large += [path.name] if path.stat().st_size > most else []
    sys.exit(f"Too large: {', '.join(too_large)}" if too_large else 0)


def _all(names):
    with (
        _in_the_evening(),
        tempfile.TemporaryDirectory() as folder,
        shop.serving(Path(folder)) as served,
        chromium.running() as browser,
    ):
        if "story" in names:
            yield from story(browser, served)
        yield from stills(browser, served, [name for name in STILLS if name in names])


@contextmanager
def _in_the_evening():
    cities = sorted(name for name in zoneinfo.available_timezones() if re.match("(Europe|America|Asia|Pacific)/", name))
    os.environ["TIME_ZONE"] = next(
        (name for name in cities if datetime.now(zoneinfo.ZoneInfo(name)).hour == BUSY_HOUR), "Europe/Paris"
    )
    yield
    del os.environ["TIME_ZONE"]


def _options(served, size):
    return {"base_url": served.url, "viewport": size, "device_scale_factor": 2, "locale": "en-GB"}


def _screenshot(page, what, scheme):
    page.emulate_media(color_scheme=scheme)
    return what.screenshot(animations="disabled")


if __name__ == "__main__":
    main(sys.argv[1:])
