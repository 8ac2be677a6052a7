from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from brevo_events.testing import FakeBrevo
from tests.conftest import KEY

EXAMPLE = Path(__file__).parent.parent / "example_project"


@pytest.fixture
def manage(tmp_path):
    def run(*arguments, **environment):
        clean = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        variables = {**clean, "DATABASE_URL": f"sqlite:///{tmp_path}/shop.sqlite3", **environment}
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=EXAMPLE,
            env={name: value for name, value in variables.items() if value is not None},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.mark.slow
class DemoTests:
    def test_shops_and_shows_the_answers_twice(self, manage):
        for _ in range(2):
            shown = manage("demo")

            lines = [line.split() for line in shown.stdout.splitlines() if line.startswith("#")]
            assert shown.returncode == 0, shown.stderr
            assert [line[1] for line in lines] == [
                *["cart_updated"] * 3,
                "order_completed",
                *["cart_updated"] * 4,
            ]
            assert [line[4:6] for line in lines[:3]] == [["Cancelled", "Superseded"]] * 3
            assert lines[3][4:7] == ["Sent", "500,", "204"]
            assert lines[4][4:6] == ["Failed", "400"]
            assert [line[4] for line in lines[5:]] == ["Cancelled", "Cancelled", "Sent"]
            assert "invalid_parameter: Contact is blocklisted" in shown.stdout

    def test_is_not_held_up_by_what_waits_in_the_history(self, manage):
        assert manage("migrate", "-v0").returncode == 0
        assert manage("shell", "-v0", "-c", "from shop import sample; sample.write()").returncode == 0

        assert manage("demo").returncode == 0

    def test_with_a_key_sends_one_event_to_the_address_that_is_named(self, manage):
        with FakeBrevo(ma_key=KEY) as brevo:
            shown = manage("demo", "--email", "me@example.com", BREVO_MA_KEY=KEY, BREVO_EVENTS_URL=brevo.url)

            assert shown.returncode == 0, shown.stderr
            assert [(body["event"], body["email"]) for body in brevo.events] == [("cart_updated", "me@example.com")]

    def test_with_a_key_and_nobody_to_ask_says_what_to_do(self, manage):
        shown = manage("demo", BREVO_MA_KEY=KEY, BREVO_EVENTS_URL="http://127.0.0.1:1/")

        assert shown.returncode == 1
        assert "EMAIL=you@example.com" in shown.stderr


@pytest.mark.slow
class ProjectTests:
    def test_is_in_order(self, manage):
        assert manage("makemigrations", "--check", "--dry-run").returncode == 0
        checked = manage("check", "--database", "default")
        assert checked.returncode == 0
        assert "brevo_events.W003" not in checked.stderr


@pytest.fixture
def in_shop(manage):
    """Run Python in the example project, and return what it printed as JSON."""

    def run(script, **environment):
        assert manage("migrate", "-v0").returncode == 0
        shown = manage("shell", "-v0", "-c", PREPARATION + script, BREVO_EVENTS_ENGINE="worker", **environment)
        assert shown.returncode == 0, shown.stderr
        return json.loads(shown.stdout.splitlines()[-1])

    return run


@pytest.mark.slow
class VocabularyTests:
    def test_a_cart_and_its_order_have_exactly_the_names_that_brevo_knows(self, in_shop):
        cart, order = in_shop(
            """
visitor = Visitor()
visitor.sign_in("Ada", "ada@example.com")
visitor.add("brume-mug", 2)
visitor.check_out()
rows = OutboxEvent.objects.order_by("pk")
print(json.dumps([json.loads(rows.filter(name=name).last().body) for name in ("cart_updated", "order_completed")]))
"""
        )

        mug = {
            "id": 1,
            "name": "Brume mug",
            "category": "Kitchen",
            "quantity": 2,
            "price": 14.5,
            "url": "http://127.0.0.1:8000/products/brume-mug/",
            "image": "http://127.0.0.1:8000/static/shop/products/brume-mug.svg",
        }
        number = order["eventdata"]["data"]["id"]
        date = order["eventdata"]["data"].pop("date")
        assert cart == {
            "email": "ada@example.com",
            "event": "cart_updated",
            "properties": {"FIRSTNAME": "Ada"},
            "eventdata": {
                "id": "cart:1",
                "data": {
                    "subtotal": 29,
                    "shipping": 4.9,
                    "total": 33.9,
                    "currency": "EUR",
                    "url": "http://127.0.0.1:8000/cart/",
                    "items": [mug],
                },
            },
        }
        assert order == {
            "email": "ada@example.com",
            "event": "order_completed",
            "properties": {"FIRSTNAME": "Ada"},
            "eventdata": {
                "id": "cart:1",
                "data": {
                    "id": number,
                    "subtotal": 29,
                    "shipping": 4.9,
                    "total": 33.9,
                    "revenue": 33.9,
                    "currency": "EUR",
                    "url": f"http://127.0.0.1:8000/orders/{number}/",
                    "items": [mug],
                },
            },
        }
        assert re.fullmatch(r"\d{4}-000001", number)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+[+]\d\d:\d\d", date)


PREPARATION = """
import json, requests
from datetime import timedelta
from django.test import Client
from brevo_events import track
from brevo_events.models import OutboxEvent, SendAttempt
from django.utils import timezone
from shop import sample
from shop.brevo import fake_brevo, misbehave
from shop.visitor import Visitor

visitor = Client(SERVER_NAME="127.0.0.1")
"""
SIGN_IN = 'visitor.post("/account/", {"first_name": "Ada", "email": "ada@example.com"})\n'


@pytest.mark.slow
class PanelTests:
    def test_shows_the_visitor_what_concerns_the_visitor(self, in_shop):
        shown = in_shop(
            SIGN_IN
            + """
track("cart_updated", "Ada@Example.com", object_id="cart:mine")
track("cart_updated", "bob@example.com", object_id="cart:other")
print(json.dumps(visitor.get("/panel/").content.decode()))
"""
        )

        assert "cart:mine" in shown
        assert "cart:other" not in shown

    def test_tells_a_stranger_what_to_do(self, in_shop):
        shown = in_shop(
            """
track("cart_updated", "bob@example.com", object_id="cart:other")
print(json.dumps(visitor.get("/panel/").content.decode()))
"""
        )

        assert "does not know yours" in shown
        assert 'href="/account/"' in shown
        assert "cart:other" not in shown

    def test_shows_status_reason_answers_and_the_way_to_the_admin(self, in_shop):
        pk, shown = in_shop(
            SIGN_IN
            + """
event = track("cart_updated", "ada@example.com")
OutboxEvent.objects.update(status="failed", reason="rejected", response_code=400)
for code, error, answer in ((500, "internal_error", ""), (400, "invalid", '{"message": "Contact is blocklisted"}')):
    SendAttempt.objects.create(
        event=event, started_at=timezone.now(), duration_ms=123, response_code=code, error=error, answer=answer
    )
print(json.dumps([event.pk, visitor.get("/panel/").content.decode()]))
"""
        )

        assert f'href="/admin/brevo_events/outboxevent/{pk}/change/"' in shown
        for text in ("Failed · 400", "Rejected by Brevo", "<b>500</b> in 123 ms", "Contact is blocklisted"):
            assert text in shown

    def test_shows_markup_as_text(self, in_shop):
        shown = in_shop(
            SIGN_IN
            + """
markup = "'\\"><script>alert(1)</script>"
event = track(markup, "ada@example.com", object_id=markup)
SendAttempt.objects.create(event=event, started_at=timezone.now(), duration_ms=1, error=markup, answer=markup)
print(json.dumps(visitor.get("/panel/").content.decode() + visitor.get("/").content.decode()))
"""
        )

        assert "<script>" not in shown
        assert shown.count("&lt;script&gt;") >= 8

    def test_is_not_kept_by_any_cache_and_changes_nothing(self, in_shop):
        control, cookies, status = in_shop(
            """
answer = visitor.get("/panel/")
print(json.dumps([answer["Cache-Control"], list(answer.cookies), visitor.post("/panel/").status_code]))
"""
        )

        assert "no-store" in control
        assert "private" in control
        assert cookies == []
        assert status == 405

    def test_ends_no_session_that_began_while_it_was_asked(self, in_shop):
        cookies = in_shop(
            SIGN_IN
            + """
before = visitor.cookies["sessionid"].value
visitor.post("/account/", {"first_name": "Ada", "email": "ada@example.com"})
assert visitor.cookies["sessionid"].value != before
visitor.cookies["sessionid"] = before
print(json.dumps(list(visitor.get("/panel/").cookies)))
"""
        )

        assert cookies == []

    def test_needs_nothing_inline(self, in_shop):
        pages = in_shop(
            SIGN_IN
            + """
paths = ["/", "/products/brume-mug/", "/cart/", "/account/"]
print(json.dumps([visitor.get(path).content.decode() for path in paths]))
"""
        )

        for page in pages:
            assert all(" src=" in tag for tag in re.findall("<script[^>]*>", page))
            assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)


@pytest.mark.slow
class FakeBrevoTests:
    def test_refuses_and_fails_as_the_page_of_the_account_says(self, in_shop):
        codes, page = in_shop(
            """
emails = ["a@blocked.example", "a@BLOCKED.example", *["a@flaky.example"] * 4, "b@flaky.example", "a@example.com"]
with fake_brevo() as brevo:
    misbehave(brevo)
    headers = {"ma-key": "thekeyofthefakebrevo0000"}
    bodies = [{"email": email, "event": "cart_updated"} for email in emails]
    codes = [requests.post(brevo.url, json=body, headers=headers).status_code for body in bodies]
    print(json.dumps([codes, visitor.get("/account/").content.decode()]))
"""
        )

        assert codes == [400, 400, 500, 204, 500, 204, 500, 204]
        assert "@blocked.example" in page
        assert "@flaky.example" in page


@pytest.mark.slow
class SampleTests:
    def test_is_written_once_and_shows_how_events_end(self, in_shop):
        first, second, ends, due, codes, names = in_shop(
            """
written = [sample.write(), sample.write()]
ends = sorted(set(OutboxEvent.objects.values_list("status", "reason")))
codes = sorted(set(SendAttempt.objects.values_list("response_code", flat=True)) - {None})
names = sorted(set(OutboxEvent.objects.values_list("name", flat=True)))
print(json.dumps([*written, ends, OutboxEvent.objects.due().count(), codes, names]))
"""
        )

        assert 2000 < first < 4000
        assert second == 0
        assert [tuple(end) for end in ends] == [
            ("cancelled", "operator"),
            ("cancelled", "superseded"),
            ("failed", "gave_up"),
            ("failed", "rejected"),
            ("pending", ""),
            ("sent", ""),
        ]
        assert due == 0  # nothing goes out in a burst when the shop starts
        assert codes == [204, 400, 429, 500, 503]
        assert names == ["cart_deleted", "cart_updated", "order_completed"]

    def test_is_written_anew_when_it_has_grown_old(self, in_shop):
        first, second, kept, newest = in_shop(
            """
from datetime import timedelta
from django.utils import timezone

written = [sample.write(timezone.now() - timedelta(days=1)), sample.write()]
newest = OutboxEvent.objects.latest("created_at").created_at
print(json.dumps([*written, OutboxEvent.objects.count(), (timezone.now() - newest).total_seconds()]))
"""
        )

        assert first > 2000
        assert second == kept > 2000
        assert newest < 7200

    def test_is_in_order(self, in_shop):
        wrong = in_shop(
            """
sample.write()
now, wrong = timezone.now(), []
later = now + timedelta(days=1)
for event in OutboxEvent.objects.prefetch_related("send_attempts"):
    attempts = sorted(event.send_attempts.all(), key=lambda attempt: attempt.pk)
    moments = [event.created_at, *(attempt.started_at for attempt in attempts), event.finished_at or event.due_at]
    is_well = moments == sorted(moments) and (event.finished_at is None) == (event.status == "pending")
    is_well = is_well and (event.finished_at or event.created_at) <= now < (event.due_at or later)
    is_well = is_well and event.response_code == (attempts[-1].response_code if attempts else None)
    wrong += [] if is_well else [event.pk]
moments = list(OutboxEvent.objects.order_by("pk").values_list("created_at", flat=True))
print(json.dumps([wrong, moments == sorted(moments)]))
"""
        )

        assert wrong == [[], True]

    def test_has_bodies_as_the_shop_makes_them(self, in_shop):
        made, made_up = in_shop(
            """
def keys(name, **which):
    event = OutboxEvent.objects.filter(name=name, **which).order_by("-pk").first()
    data = event.data
    return sorted([*event.properties, *data, *(f"item {key}" for item in data["items"][:1] for key in item)])

visitor = Visitor()
visitor.sign_in("Ada", "ada@example.com")
visitor.add("brume-mug")
visitor.check_out()
made = [keys(name) for name in ("cart_updated", "order_completed")]
sample.write()
made_up = [keys(name, pk__in=sample.events()) for name in ("cart_updated", "order_completed")]
print(json.dumps([made, made_up]))
"""
        )

        for names, made_up_names in zip(made, made_up, strict=True):
            assert {"FIRSTNAME", "total", "currency", "url", "items", "item name", "item image"} <= set(made_up_names)
            assert set(made_up_names) <= set(names)

    def test_never_meets_a_real_key(self, in_shop, manage):
        refused = manage("shell", "-v0", "-c", "from shop import sample; sample.write()", BREVO_MA_KEY=KEY)
        assert "No made-up event may exist" in refused.stderr

        in_shop("print(sample.write())")

        for command in ("check", "shop", "send_brevo_events"):
            refused = manage(command, BREVO_MA_KEY=KEY, BREVO_EVENTS_URL="http://127.0.0.1:1/")
            assert refused.returncode == 1
            assert "made-up events" in refused.stderr

    def test_has_a_database_of_its_own(self, manage):
        show = "from django.conf import settings; print(settings.DATABASES['default']['NAME'])"

        made_up = manage("shell", "-v0", "-c", show, DATABASE_URL=None)
        real = manage("shell", "-v0", "-c", show, DATABASE_URL=None, BREVO_MA_KEY=KEY)

        assert made_up.stdout.strip().endswith("fake.sqlite3")
        assert real.stdout.strip().endswith("db.sqlite3")
