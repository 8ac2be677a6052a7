from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from brevo_events import track
from brevo_events.models import OutboxEvent, Status
from brevo_events.transports import locmem
from tests.browsing import (
    ACTIONS,
    ADA,
    BOB,
    LIST,
    address_of,
    ask,
    attempt,
    browser_of,
    confirm,
    dump,
    ended,
    facts_of,
    page_of,
    pks_of,
    root,
    selected,
    staff,
    statuses_of,
    text_of,
)

pytestmark = pytest.mark.usefixtures("by_hand")

VIEW, SEE = "view_outboxevent", "view_contact_data"
RESEND, CANCEL, ERASE, PAUSE = "resend_outboxevent", "cancel_outboxevent", "erase_contact", "pause_delivery"
NEEDED = dict(zip(ACTIONS, (RESEND, CANCEL, ERASE), strict=True))
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
SECRETS = ("ada@example.com", "Ada@Example.com", "example.com", "Lovelace", "is blocked", "blocklisted", "+4930123")


@pytest.fixture
def event(db):
    """A failed event, with a body and answers that tell of the contact; another one waits."""
    event = ended(ADA, object_id="cart:1", data={"name": "Lovelace", "phone": "+4930123"}, response_code=400)
    attempt(
        event, response_code=400, error="blocklisted", answer='{"code": "x", "message": "Ada@Example.com is blocked"}'
    )
    attempt(event, response_code=503, answer="ada@example.com is blocked")
    track("viewed", ADA, object_id="cart:2", data={"name": "Lovelace"})
    return event


def addresses_of(event):
    """Return every address that the admin of events has; one with a part that is not known here is an error."""
    model_admin = admin.site._registry[OutboxEvent]
    routes = [str(pattern.pattern) for pattern in model_admin.get_urls()]
    found = []
    for route in routes:
        for name in (*ACTIONS, "unknown") if "<slug:name>" in route else ("",):
            parts = {"path:object_id": str(event.pk), "int:pk": str(event.pk), "slug:name": name}
            found.append(LIST + re.sub("<(.*?)>", lambda part, parts=parts: parts[part[1]], route))
    assert len(set(found)) == len(routes) + len(ACTIONS)
    return found


def all_tries(event):
    """Yield all that somebody may send to change something: to each address, by each method, whatever a form holds."""
    event_pks = pks_of(OutboxEvent.objects.order_by("pk"))
    options = {"include_sent": "on", "include_outdated": "on", "include_expired": "on"}
    values = {"name": "changed", "email": BOB, "status": "sent", "body": "{}", "_save": "Save"}
    contacts = OutboxEvent.objects.exclude(contact="").values("contact").distinct().count()
    posted = {"pks": event_pks, "confirmed": "yes", "post": "yes", "contacts": contacts, **options, **values}
    for url in addresses_of(event):
        everything = {**posted, "ticked": ",".join(options) if "resend" in url else ""}
        yield "post", url, {}
        yield "post", url, {"pks": event_pks}
        for method in METHODS:
            yield method, url, everything
    for action in (*ACTIONS, "delete_selected", "unknown"):
        form = {"action": action, "_selected_action": event_pks.split(","), "post": "yes", "confirmed": "yes"}
        for select_across in ("0", "1"):
            for method in ("get", "post"):
                yield method, LIST, {**form, "select_across": select_across, "index": "0"}


def send(browser, method, url, form):
    if method in ("get", "head", "post"):
        return getattr(browser, method)(url, form)
    return getattr(browser, method)(url, "&".join(f"{key}={value}" for key, value in form.items()))


def changes(browser, event):
    """Return what has changed something, of all that can be tried, and the answers."""
    before, found, answers = dump(), [], []
    for method, url, form in all_tries(event):
        answers.append(((method, url), send(browser, method, url, form)))
        if dump() != before:
            found.append((method, url, form))
            before = dump()
    return found, answers


def hand_made(event):
    """Return the pages that show an event to somebody who may act on it, each as a function of a browser."""
    return {
        "list": lambda browser: browser.get(LIST),
        "search": lambda browser: browser.get(LIST, {"q": "cart:1"}),
        "failed": lambda browser: browser.get(LIST, {"status": "failed"}),
        "page": lambda browser: browser.get(page_of(event)),
        "contact": lambda browser: browser.get(f"{LIST}contact/{event.pk}/"),
        "history": lambda browser: browser.get(f"{LIST}{event.pk}/history/"),
        "overview": lambda browser: browser.get(f"{LIST}overview/"),
        **{name: lambda browser, name=name: ask(browser, name, event) for name in ACTIONS},
        **{
            f"{name} from the list": lambda browser, name=name: browser.post(LIST, selected(name, event))
            for name in ACTIONS
        },
    }


@pytest.mark.django_db
class ViewerTests:
    @pytest.mark.parametrize("permissions", [[VIEW], [VIEW, SEE]], ids=["view", "view and see"])
    def test_can_change_nothing_whatever_is_tried(self, event, permissions):
        found, answers = changes(staff(*permissions), event)

        # An export leaves its entry in the admin's log.
        exports = {("post", f"{LIST}contact/{event.pk}/export/")} if SEE in permissions else set()
        assert {(method, url) for method, url, _ in found} == exports
        assert set(LogEntry.objects.values_list("change_message", flat=True)) == ({"Exported."} if exports else set())
        assert not [where for where, response in answers if response.status_code >= 500]
        assert locmem.sent == []

    def test_is_refused_by_each_action(self, event):
        browser = staff(VIEW)

        for action in ACTIONS:
            assert ask(browser, action, event).status_code == 403
            assert confirm(browser, action, event).status_code == 403
            assert f'value="{action}"' not in text_of(browser.get(LIST))
            assert address_of(action) not in text_of(browser.get(page_of(event)))

    def test_would_be_seen_to_change_something(self, event):
        # The same tries by somebody who may: else the tests above could not fail.
        found, _ = changes(root(), event)

        expected = {*map(address_of, ACTIONS), f"{LIST}overview/pause/", f"{LIST}export/"}
        assert {url for _, url, _ in found} >= expected
        assert {method for method, _, _ in found} == {"post"}

    def test_sees_masked_forms_and_nothing_else_of_the_contact(self, event):
        browser = staff(VIEW)

        for name in ("list", "search", "failed", "page", "contact", "history", "overview"):
            page = text_of(hand_made(event)[name](browser))
            assert [secret for secret in SECRETS if secret in page and name != "overview"] == []
            assert "example.com" not in page.lower()
            assert ("a…@e…" in page) is (name in ("list", "search", "failed", "page", "contact"))
        page = text_of(browser.get(page_of(event)))
        assert "Hidden. You need the permission “Can view addresses and what was sent”." in page
        assert 'id="brevo-body"' not in page
        assert 'id="brevo-curl"' not in page

    def test_still_sees_what_is_not_about_the_contact(self, event):
        page = text_of(staff(VIEW).get(page_of(event)))

        assert "cart:1" in page
        assert "<strong>400 Bad Request</strong>" in page
        assert "Brevo rejected the event" in page

    def test_who_may_act_is_asked_without_an_address(self, event):
        browser = staff(VIEW, *NEEDED.values())

        for name, page_for in hand_made(event).items():
            page = text_of(page_for(browser))
            assert "example.com" not in page.lower(), name
            assert "Lovelace" not in page, name
        assert "1 contact: a…@e…" in facts_of(ask(browser, "erase", event))

    @pytest.mark.parametrize("action", ACTIONS)
    def test_who_may_act_is_told_of_it_without_an_address(self, event, action):
        browser = staff(VIEW, *NEEDED.values())

        page = text_of(confirm(browser, action, event, back=LIST))

        assert "example.com" not in page.lower()

    def test_may_see_all_of_it_with_the_permission(self, event):
        browser = staff(VIEW, SEE, ERASE)

        page = text_of(browser.get(page_of(event)))

        assert [secret for secret in SECRETS if secret not in page] == []
        assert ADA in text_of(browser.get(LIST))
        assert "…@" not in page + text_of(browser.get(LIST))
        assert f"1 contact: {ADA}" in facts_of(ask(browser, "erase", event))

    @pytest.mark.parametrize("term", [ADA, "ADA@example.com", f" {ADA}"])
    def test_an_address_is_found_only_by_those_who_may_see_it(self, event, term):
        track("viewed", BOB)
        track("viewed", BOB, object_id=ADA)

        assert not staff(VIEW).get(LIST, {"q": term}).context["cl"].result_list
        found = staff(VIEW, SEE).get(LIST, {"q": term.strip()}).context["cl"].result_list

        assert sorted(row.email for row in found)[:2] == [ADA, ADA]

    def test_the_help_of_the_search_says_what_it_finds(self, event):
        viewer, seer = staff(VIEW), staff(VIEW, SEE)

        assert "or an idempotency key. Your account may not search for addresses." in text_of(viewer.get(LIST))
        assert "A whole address, an order number, an object such as cart:1234" in text_of(seer.get(LIST))

    @pytest.mark.parametrize(("permissions", "count"), [([VIEW], 0), ([VIEW, SEE], 2)], ids=["view", "view and see"])
    def test_autocompletion_does_not_confirm_an_address_that_is_masked(self, event, settings, permissions, count):
        settings.ROOT_URLCONF = "tests.browsing"
        field = {"app_label": "brevo_events", "model_name": "sendattempt", "field_name": "event"}

        response = staff(*permissions).get("/staff/autocomplete/", {**field, "term": ADA})

        assert len(response.json()["results"]) == count

    def test_other_events_show_the_object_as_the_fields_do(self, event):
        track("viewed", ADA, object_id=f"user:{ADA}")

        others = text_of(staff(VIEW).get(page_of(event))).partition('id="brevo-others"')[2]

        assert "cart:2" in others
        assert "u…@e…" in others

    @pytest.mark.parametrize(
        "lookup",
        [
            "email__startswith",
            "email",
            "email__regex",
            "body__contains",
            "contact__startswith",
            "idempotency_key__startswith",
            "source__startswith",
            "send_attempts__answer__contains",
            "send_attempts__error",
        ],
    )
    @pytest.mark.parametrize("value", ["a", "z"])
    def test_cannot_find_out_letter_by_letter(self, event, lookup, value):
        response = staff(VIEW).get(LIST, {lookup: value})

        assert response.status_code == 400

    def test_filters_as_everybody_does(self, event):
        browser = staff(VIEW)

        page = text_of(browser.get(LIST))

        links = [link.replace("&amp;", "&") for link in re.findall(r'<a href="(\?[^"]+)"', page)]
        fields = set(re.findall(r'<(?:select|input|button)[^>]* name="(\w+)"', page.partition("</form>")[2]))
        assert fields >= {"q", "name", "response", "when", "from", "to", "span"}
        for link in [*links, *(f"?{field}=2" for field in fields & {"name", "response", "when", "from", "span"})]:
            assert browser.get(LIST + link).status_code == 200

    def test_costs_no_more_queries_with_masks(self, event):
        counts = []
        for browser in (staff(VIEW), staff(VIEW, SEE)):
            for url in (LIST, page_of(event)):
                browser.get(url)  # fills the caches of the process
                with CaptureQueriesContext(connection) as queries:
                    text_of(browser.get(url))
                counts.append(len(queries))

        assert counts[:2] == counts[2:]


@pytest.mark.django_db
class ActorTests:
    @pytest.mark.parametrize("action", ACTIONS)
    def test_may_do_the_one_thing_and_no_other(self, action):
        browser = staff(VIEW, NEEDED[action])

        for name in ACTIONS:
            event = track("viewed", ADA) if name == "cancel" else ended(ADA)
            is_allowed = name == action
            assert (f'<option value="{name}">' in text_of(browser.get(LIST))) is is_allowed
            assert (address_of(name) in text_of(browser.get(page_of(event)))) is is_allowed
            assert ask(browser, name, event).status_code == (200 if is_allowed else 403)
            before = dump()
            assert confirm(browser, name, event, follow=False).status_code == (302 if is_allowed else 403)
            assert (dump() != before) is is_allowed

    @pytest.mark.parametrize("action", ACTIONS)
    def test_changes_nothing_elsewhere_whatever_is_tried(self, event, action):
        found, _ = changes(staff(VIEW, NEEDED[action]), event)

        assert found
        assert {(method, url) for method, url, _ in found} == {("post", address_of(action))}
        assert all("confirmed" in form for _, _, form in found)

    @pytest.mark.parametrize("action", ACTIONS)
    def test_needs_to_view_too(self, event, action):
        browser = staff(NEEDED[action], SEE)

        before = dump()
        responses = [
            browser.get(LIST),
            browser.get(page_of(event)),
            ask(browser, action, event),
            confirm(browser, action, event),
            browser.post(LIST, selected(action, event)),
        ]

        assert [response.status_code for response in responses] == [403] * 5
        assert dump() == before

    @pytest.mark.parametrize(
        ("status", "names"),
        [
            (Status.PENDING, {"cancel", "erase"}),
            (Status.SENDING, {"erase"}),
            (Status.SENT, {"resend", "erase"}),
            (Status.FAILED, {"resend", "erase"}),
            (Status.CANCELLED, {"resend", "erase"}),
        ],
    )
    def test_sees_the_buttons_that_an_event_can_have(self, status, names):
        browser, event = staff(VIEW, *NEEDED.values()), ended(ADA, status)

        page = text_of(browser.get(page_of(event)))

        assert {name for name in ACTIONS if f'action="{address_of(name)}"' in page} == names
        assert {name for name in ACTIONS if f'<option value="{name}">' in text_of(browser.get(LIST))} == set(ACTIONS)


@pytest.mark.django_db
class NobodyTests:
    @pytest.mark.parametrize(
        "permissions",
        [(), (SEE,), (RESEND, CANCEL, ERASE, PAUSE, SEE), ("view_user", "view_sendattempt", "view_gate")],
        ids=lambda names: "+".join(names) or "none",
    )
    def test_without_the_permission_to_view_sees_and_changes_nothing(self, event, permissions):
        found, answers = changes(staff(*permissions), event)

        assert found == []
        for where, response in answers:
            assert response.status_code in (302, 403, 404, 405), where
            content = response.content.decode()
            assert not [secret for secret in (*SECRETS, "viewed", "cart:1", "a…@e…") if secret in content], where

    def test_is_not_even_told_that_there_is_an_outbox(self, event):
        assert "Brevo" not in text_of(staff().get("/admin/"))

    @pytest.mark.parametrize("who", ["anonymous", "customer", "inactive"])
    def test_from_outside_is_asked_to_log_in(self, event, who):
        browser = Client()
        if who != "anonymous":
            browser = browser_of(User.objects.create_user("customer", is_staff=who == "inactive"))
            User.objects.update(is_active=who != "inactive")

        found, answers = changes(browser, event)

        assert found == []
        for where, response in answers:
            assert response.status_code == 302, where
            assert response.url.startswith(("/admin/login/", "/admin/brevo_events/outboxevent/")), where
            assert "login" in response.url or where[1] == f"{LIST}{event.pk}/", where


@pytest.mark.django_db
class TokenTests:
    def test_that_is_missing_stops_everything(self, event):
        browser, before = root(enforce_csrf_checks=True), dump()

        found, answers = changes(browser, event)

        assert found == []
        assert dump() == before
        assert {response.status_code for (method, _), response in answers if method == "post"} == {403}
        assert not LogEntry.objects.exists()
        assert statuses_of(event) == [Status.FAILED]
