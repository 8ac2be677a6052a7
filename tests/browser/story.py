"""The story told by the README's animated picture, frame by frame."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.test_visit import told

STORY_SIZE = {"width": 1060, "height": 700}

CAPTION = """text => {
    const bar = document.getElementById("caption") || document.body.appendChild(document.createElement("div"));
    bar.id = "caption";
    bar.textContent = text;
    Object.assign(bar.style, {
        position: "fixed", inset: "auto 0 0 0", padding: "14px 24px", background: "#10302d", color: "#fff",
        font: "600 22px/1.3 system-ui, sans-serif", textAlign: "center", zIndex: 9,
    });
    document.activeElement.blur();
    window.scrollTo(0, 0);
}"""


def frames(page):
    """Play the story on a page of a new visitor; yield each time there is something to see."""

    def show(caption):
        page.evaluate(CAPTION, caption)
        return caption

    page.goto("/")
    yield show("A Django shop with brevo_events, and what it tells Brevo, its e-mail service")

    page.get_by_role("button", name="Ada").click()
    expect(told(page, "identify")).to_contain_text("Accepted · 204")
    yield show("Ada signs in: Brevo learns who she is")

    for product in ("Brume mug", "Calanque shirt", "Colibri teapot"):
        page.goto("/")
        page.get_by_role("listitem").filter(has_text=product).get_by_role("button", name="Add to cart").click()
        expect(told(page, "cart_updated").first).to_contain_text(product)
    yield show("She fills her cart: each change is kept in the shop's own database, to be sent")

    expect(told(page, "cart_updated")).to_contain_text("Accepted · 204")
    expect(told(page, "cart_updated")).to_contain_text("changes merged")
    yield show("The three changes become one request, and Brevo accepts it")

    expect(page.locator(".verdict")).to_contain_text("Reminder to Ada in 0:3")
    yield show("Now Brevo would remind her of the cart, unless she orders")

    page.get_by_role("button", name="Down").click()
    yield show("Brevo goes down …")

    page.goto("/checkout/")
    yield show("… while Ada orders")

    page.get_by_role("button", name="Place the order").click()
    expect(told(page, "order_completed")).to_contain_text("Next attempt in")
    yield show("The shop sells on: what Brevo must know is kept, and sent again")

    page.get_by_role("button", name="Works").click()
    yield show("Brevo is back …")

    expect(told(page, "order_completed")).to_contain_text("Accepted · 204")
    expect(page.locator(".verdict")).to_contain_text("No reminder: Ada ordered")
    yield show("… and knows of the order: no needless reminder")
