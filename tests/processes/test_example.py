from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys

import pytest

from brevo_events.testing import FakeBrevo
from tests.conftest import KEY
from tests.snippets import ROOT

EXAMPLE = ROOT / "example_project"


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


class DemoTests:
    def test_shops_and_shows_the_answers_twice(self, manage):
        for is_first in (True, False):  # the customers are known from then on
            shown = manage("demo")

            lines = [line.split() for line in shown.stdout.splitlines() if line.startswith("#")]
            assert shown.returncode == 0, shown.stderr
            identified = ["identify"] if is_first else []
            assert [line[1] for line in lines] == [
                *identified,
                *["cart_updated"] * 3,
                "order_completed",
                *identified,
                "cart_updated",
                *identified,
                *["cart_updated"] * 3,
            ]
            ada, bob, cleo = ([line for line in lines if line[2].startswith(name)] for name in ("ada", "bob", "cleo"))
            assert [line[4:7] for line in ada[-4:-1]] == [["Not", "needed", "Superseded"]] * 3
            assert {"Accepted", "500,", "204"} <= set(ada[0 if is_first else -1])
            assert bob
            assert all({"Failed", "400"} <= set(line) for line in bob)
            assert [line[4:6] for line in cleo[-3:]] == [["Not", "needed"], ["Not", "needed"], ["Accepted", "204"]]
            assert "invalid_parameter: Contact is blocklisted" in shown.stdout

    def test_is_not_held_up_by_what_waits_in_the_history(self, manage):
        assert manage("migrate", "-v0").returncode == 0
        assert manage("shell", "-v0", "-c", "from shop.stage import sample; sample.write()").returncode == 0

        assert manage("demo").returncode == 0

    def test_with_a_key_reports_one_cart_to_the_address_that_is_named(self, manage):
        with FakeBrevo(ma_key=KEY) as brevo:
            shown = manage("demo", "--email", "me@example.com", BREVO_MA_KEY=KEY, BREVO_EVENTS_URL=brevo.url)

            assert shown.returncode == 0, shown.stderr
            assert [request.path.rpartition("/")[2] for request in brevo.requests] == ["identify", "trackEvent"]
            assert {body["email"] for body in brevo.events} == {"me@example.com"}

    def test_with_a_key_and_nobody_to_ask_says_what_to_do(self, manage):
        shown = manage("demo", BREVO_MA_KEY=KEY, BREVO_EVENTS_URL="http://127.0.0.1:1/")

        assert shown.returncode == 1
        assert "EMAIL=you@example.com" in shown.stderr


class ProjectTests:
    def test_is_in_order(self, manage):
        assert manage("makemigrations", "--check", "--dry-run").returncode == 0
        checked = manage("check", "--database", "default")
        assert checked.returncode == 0
        assert "brevo_events.W003" not in checked.stderr


class SettingsTests:
    SHOW = "from django.conf import settings; print(settings.DEBUG)"

    @pytest.mark.parametrize(
        ("environment", "debug"),
        [
            ({}, "True"),
            ({"ALLOWED_HOSTS": "localhost"}, "True"),
            ({"ALLOWED_HOSTS": "shop.example.com", "SECRET_KEY": "s3cret"}, "False"),
            ({"ALLOWED_HOSTS": "shop.example.com", "SECRET_KEY": "s3cret", "DEBUG": "True"}, "True"),
        ],
        ids=str,
    )
    def test_debug_is_on_by_default_on_loopback_only(self, manage, environment, debug):
        assert manage("shell", "-v0", "-c", self.SHOW, **environment).stdout.strip() == debug

    @pytest.mark.parametrize(
        "environment",
        [
            {"ALLOWED_HOSTS": "shop.example.com"},
            {"ALLOWED_HOSTS": "localhost,*"},
            {"ALLOWED_HOSTS": "10.0.0.1", "SECRET_KEY": "insecure-development-key-of-the-example-shop"},
        ],
        ids=str,
    )
    def test_public_key_does_not_serve_others(self, manage, environment):
        shown = manage("shell", "-v0", "-c", self.SHOW, **environment)

        assert shown.returncode != 0
        assert "ImproperlyConfigured" in shown.stderr
        assert "SECRET_KEY" in shown.stderr


@pytest.fixture
def in_shop(manage):
    """Run Python in the example project, and return what it printed as JSON."""

    def run(script, **environment):
        assert manage("migrate", "-v0").returncode == 0
        shown = manage("shell", "-v0", "-c", PREPARATION + script, BREVO_EVENTS_ENGINE="worker", **environment)
        assert shown.returncode == 0, shown.stderr
        return json.loads(shown.stdout.splitlines()[-1])

    return run


class VocabularyTests:
    def test_a_customer_is_identified_once_the_address_is_known(self, in_shop):
        bodies = in_shop(
            """
visitor = Visitor()
visitor.sign_in("Ada", "ada@example.com")
visitor.add("brume-mug", 2)
print(json.dumps([json.loads(body) for body in OutboxEvent.objects.order_by("pk").values_list("body", flat=True)]))
"""
        )

        assert bodies[0] == {"email": "ada@example.com", "attributes": {"LANGUAGE": "en", "FIRSTNAME": "Ada"}}
        assert [body.get("event") for body in bodies] == [None, "cart_updated"]

    def test_a_stranger_is_identified_at_the_checkout_before_anything_else_is_sent(self, in_shop):
        sent, body = in_shop(
            """
visitor = Visitor()
visitor.add("brume-mug", 2)
assert not OutboxEvent.objects.exists()
visitor.check_out(email="ada@example.com")
rows = OutboxEvent.objects.order_by("pk")
sent = [(row.name, row.status) for row in rows]
print(json.dumps([sent, json.loads(rows[0].body)]))
"""
        )

        assert body == {"email": "ada@example.com", "attributes": {"LANGUAGE": "en"}}
        assert [tuple(each) for each in sent] == [
            ("identify", "pending"),
            ("cart_updated", "cancelled"),
            ("order_completed", "pending"),
        ]

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
from brevo_events.delivery import deliver
from brevo_events.models import Gate, OutboxEvent, SendAttempt
from brevo_events.testing import ReceivedRequest
from django.utils import timezone
from shop.models import Cart
from shop.stage import login, sample
from shop.stage.brevo import Mood, fake_brevo, misbehave
from shop.stage.reminders import reminder_of
from shop.stage.visitor import Visitor

visitor = Client(SERVER_NAME="127.0.0.1")
"""
SIGN_IN = 'visitor.post("/account/", {"first_name": "Ada", "email": "ada@example.com"})\n'


class PanelTests:
    def test_shows_the_visitor_what_concerns_the_visitor(self, in_shop):
        shown = in_shop(
            SIGN_IN
            + """
track("cart_updated", "Ada@Example.com", object_id="cart:mine")
track("cart_updated", "bob@example.com", object_id="cart:other")
print(json.dumps(visitor.get("/stage/panel/").content.decode()))
"""
        )

        assert "cart:mine" in shown
        assert "cart:other" not in shown

    def test_tells_a_stranger_what_to_do(self, in_shop):
        shown = in_shop(
            """
track("cart_updated", "bob@example.com", object_id="cart:other")
print(json.dumps(visitor.get("/stage/panel/").content.decode()))
"""
        )

        assert "does not know yours" in shown
        assert 'href="/account/"' in shown
        assert "Choose who you are" not in shown
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
print(json.dumps([event.pk, visitor.get("/stage/panel/").content.decode()]))
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
print(json.dumps(visitor.get("/stage/panel/").content.decode() + visitor.get("/").content.decode()))
"""
        )

        assert "<script>" not in shown
        assert shown.count("&lt;script&gt;") >= 8

    def test_is_not_kept_by_any_cache_and_changes_nothing(self, in_shop):
        control, cookies, status = in_shop(
            """
answer = visitor.get("/stage/panel/")
print(json.dumps([answer["Cache-Control"], list(answer.cookies), visitor.post("/stage/panel/").status_code]))
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
print(json.dumps(list(visitor.get("/stage/panel/").cookies)))
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

    def test_folds_what_is_merged_into_a_newer_event_of_the_same_cart(self, in_shop):
        pending, sent, ordered, brokenly = in_shop(
            """
visitor.post("/account/", {"first_name": "Ada", "email": "ada@example.com"})
look = lambda: visitor.get("/stage/panel/").content.decode()
add = lambda slug: visitor.post("/cart/add/", {"product": slug, "quantity": 1})
with fake_brevo() as brevo:
    for slug in ("brume-mug", "minuit-watch", "brume-mug"):
        add(slug)
    shown = [look()]
    OutboxEvent.objects.update(available_at=timezone.now(), due_at=timezone.now())
    deliver()
    shown.append(look())
    add("brume-mug")
    visitor.post("/checkout/")
    shown.append(look())
    brevo.change(Mood.DOWN)
    deliver()
    shown.append(look())
print(json.dumps(shown))
"""
        )

        assert pending.count("data-event") == sent.count("data-event") == 3  # with the reminder and identify
        assert "3 changes merged" in pending
        assert "Goes out in <span data-ticks>0:02</span>" in pending
        assert "3 changes merged" in sent
        assert "2 × Brume mug, 1 × Minuit watch" in sent
        assert "Superseded" not in pending + sent + ordered
        assert ordered.count("data-event") == 4
        assert "1 earlier report of this cart not needed any more" in ordered
        assert "Next attempt in <span data-ticks>0:" in brokenly

    def test_says_why_an_event_waits(self, in_shop):
        held, behind, sending = in_shop(
            SIGN_IN
            + """
look = lambda: visitor.get("/stage/panel/").content.decode()
with fake_brevo() as brevo:
    brevo.change(Mood.REFUSING)
    deliver()
    shown = [look()]
    brevo.change(Mood.WELL)
    Gate.load().open()
    track("cart_deleted", "ada@example.com")
    shown.append(look())
    OutboxEvent.objects.update(status="sending")
    shown.append(look())
print(json.dumps(shown))
"""
        )

        assert "Delivery is on hold: Brevo does not accept the key (401)." in held
        assert "Next try in <span data-ticks>0:0" in held
        assert "Waits until delivery goes on." in held
        assert "Delivery is on hold" not in behind
        assert "Waits for identify #1: your events are sent in order." in behind
        assert "Being sent: Brevo has not answered yet." in sending


class ReminderTests:
    def test_is_what_an_automation_would_do_by_what_brevo_has_accepted(self, in_shop):
        shown = in_shop(
            """
def request(seconds, event, *names, cart="cart:1", email="Ada@example.com", status=204):
    data = {"items": [{"name": name} for name in names]}
    body = json.dumps({"email": email, "event": event, "eventdata": {"id": cart, "data": data}})
    return ReceivedRequest("POST", "/", {}, body.encode(), seconds, status)

def shown(seconds, *requests):
    reminder = reminder_of("ada@example.com", requests)
    return reminder and [reminder.state(seconds), reminder.due_at, reminder.items]

cart, more = request(100, "cart_updated", "Mug"), request(120, "cart_updated", "Mug", "Watch")
order = request(150, "order_completed", "Mug")
print(json.dumps([
    shown(101),
    shown(101, request(100, "cart_updated", "Mug", status=400)),
    shown(101, request(100, "cart_updated", "Mug", email="bob@example.com")),
    shown(101, ReceivedRequest("POST", "/", {}, b'{"email": "ada@example.com", "attributes": {}}', 1, 204)),
    shown(139, cart),
    shown(140, cart),
    shown(141, cart, more),
    shown(170, cart, more, order),
    shown(170, cart, order),
    shown(170, order),
    shown(111, cart, request(110, "cart_deleted")),
    shown(111, cart, request(110, "cart_updated", "Lamp", cart="cart:2")),
]))
"""
        )

        assert shown == [
            None,
            None,
            None,
            None,
            ["waiting", 140, ["Mug"]],
            ["sent", 140, ["Mug"]],
            ["waiting", 160, ["Mug", "Watch"]],
            ["ordered", 160, ["Mug", "Watch"]],
            ["sent", 140, ["Mug"]],
            ["ordered", None, []],
            ["emptied", 140, ["Mug"]],
            ["waiting", 150, ["Lamp"]],
        ]


class StageTests:
    def test_being_somebody_takes_over_a_strangers_cart_but_nobody_elses(self, in_shop):
        carts, pages = in_shop(
            """
add = lambda: visitor.post("/cart/add/", {"product": "brume-mug", "quantity": 1})
with fake_brevo():
    add()
    pages = [visitor.post(f"/stage/be/{who}/")["Location"] for who in ("ada", "bob")]
    add()
    pages.append(visitor.post("/stage/be/bob/")["Location"])
    pages.append(visitor.post("/stage/be/mallory/").status_code)
    pages.append(visitor.get("/stage/be/ada/").status_code)
print(json.dumps([list(Cart.objects.order_by("pk").values_list("customer__email", flat=True)), pages]))
"""
        )

        assert carts == ["ada@example.com", "bob@blocked.example"]
        assert pages == ["/cart/", "/", "/cart/", 404, 405]

    def test_brevo_is_slow_down_or_refuses_the_key_and_works_again(self, in_shop):
        answers, statuses = in_shop(
            """
def answer(email):
    body = {"email": email, "event": "cart_updated"}
    try:
        return requests.post(brevo.url, json=body, headers={"ma-key": brevo.account_key}).status_code
    except requests.ConnectionError:
        return None

def put(mood):
    return visitor.post("/stage/mood/", {"mood": mood, "next": "/cart/"})["Location"]

answers = []
with fake_brevo() as brevo:
    misbehave(brevo)
    for mood in ("refusing", "down", "slow", "well"):
        assert put(mood) == "/cart/"
        latency = brevo.latency
        brevo.latency = 0
        answers.append([mood, latency, answer("ada@example.com"), answer("bob@blocked.example")])
    Gate.load().close("account", 401, 300)
    put("down")
    statuses = [Gate.load().is_probe_due]
    put("well")
    statuses.append(Gate.load().is_probe_due)
    statuses.append(visitor.post("/stage/mood/", {"mood": "angry"}).status_code)
    statuses.append(visitor.post("/stage/mood/", {"mood": "well", "next": "https://evil.example/"})["Location"])
print(json.dumps([answers, statuses]))
"""
        )

        assert answers == [
            ["refusing", 0, 401, 401],
            ["down", 0, None, None],
            ["slow", 4.0, 204, 400],
            ["well", 0, 204, 400],
        ]
        assert statuses == [False, True, 404, "/"]

    def test_is_dark_with_a_real_key(self, in_shop):
        page, statuses = in_shop(
            """
page = visitor.get("/").content.decode()
statuses = [visitor.post(path, {"mood": "down"}).status_code for path in ("/stage/be/ada/", "/stage/mood/")]
print(json.dumps([page, statuses]))
""",
            BREVO_MA_KEY=KEY,
        )

        assert "Events sent to Brevo" in page
        for text in ("/stage/be/", "/stage/mood/", "simulated", "fake"):
            assert text not in page
        assert statuses == [404, 404]


class LoginTests:
    def test_link_logs_in_once_on_this_machine_and_the_next_one_is_shown(self, in_shop):
        shown = in_shop(
            """
from django.contrib.auth import get_user_model

def go(path, visitor=None, **headers):
    visitor = visitor or Client(SERVER_NAME="127.0.0.1")
    response = visitor.get(path, **headers)
    return [response.status_code, response.headers.get("Location")]

links = []
nothing = go("/stage/login/x/")
login.offer(links.append)
link, fresh = links[0], Client(SERVER_NAME="127.0.0.1")
refused = [
    go(link, REMOTE_ADDR="192.0.2.1"), go(link, HTTP_X_FORWARDED_FOR="192.0.2.1"), go("/stage/login/é/"),
    [fresh.head(link).status_code, None], [fresh.post(link).status_code, None],
]
assert len(links) == 1
right = [go(link, fresh), go(links[0]), go(links[0], fresh), go(links[1])]
admin = fresh.get("/admin/").status_code
has_password = get_user_model().objects.get().has_usable_password()
print(json.dumps([nothing, refused, right, admin, len(set(links)), has_password]))
"""
        )

        nothing, refused, right, admin, links, has_password = shown
        overview = "/admin/brevo_events/outboxevent/overview/"
        assert nothing == [410, None]
        assert [status for status, _where in refused] == [404, 404, 410, 405, 405]
        assert right == [[302, overview], [410, None], [302, overview], [302, overview]]
        assert admin == 200
        assert links == 3
        assert not has_password


class PortTests:
    def test_that_is_taken_changes_nothing_and_names_another(self, manage, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            shown = manage("shop", "--port", str(port))

        assert shown.returncode == 1
        assert f"make shop PORT={port + 1}" in shown.stderr
        assert not (tmp_path / "shop.sqlite3").exists()


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


class SampleTests:
    def test_is_written_once_and_shows_how_events_end(self, in_shop):
        first, second, ends, due, codes, names, newest = in_shop(
            """
written = [sample.write(), sample.write()]
ends = sorted(set(OutboxEvent.objects.values_list("status", "reason")))
codes = sorted(set(SendAttempt.objects.values_list("response_code", flat=True)) - {None})
names = sorted(set(OutboxEvent.objects.values_list("name", flat=True)))
newest = SendAttempt.objects.latest("pk").response_code
print(json.dumps([*written, ends, OutboxEvent.objects.due().count(), codes, names, newest]))
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
        assert newest == 204  # or the first failure in the shop would be that of yet another contact: an outage
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
        refused = manage("shell", "-v0", "-c", "from shop.stage import sample; sample.write()", BREVO_MA_KEY=KEY)
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
