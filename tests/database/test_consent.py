from __future__ import annotations

import logging
import time

import pytest
from django.db import DatabaseError, connection, transaction

from brevo_events import Event, consent, track, track_many
from brevo_events.delivery import deliver
from brevo_events.delivery.pipeline import Pipeline
from brevo_events.exceptions import InvalidSetting
from brevo_events.models import Gate, OutboxEvent, SendAttempt
from brevo_events.signals import event_cancelled, event_captured, event_rejected
from brevo_events.testing import Reply
from brevo_events.transports import locmem
from brevo_events.worker import Worker
from tests.shop.models import Cart, Product

pytestmark = pytest.mark.django_db(transaction=True)

ADA, BOB = "ada@example.com", "bob@example.com"
EVENT = Event("viewed", ADA)


def consent_is_given(event):
    """Say yes, for the setting to name."""
    return True


def consent_is_refused(event):
    """Say no, for the setting to name."""
    return False


class Register:
    """Ask a register of those who consent, as a project's callable may be an object too."""

    def __init__(self, *emails):
        self.emails = set(emails)
        self.asked = []

    def __call__(self, event):
        self.asked.append(event)
        return event.email in self.emails


@pytest.fixture
def ask(settings):
    """Give a function that sets CONSENT; nothing is sent but by the test itself."""

    def give(function, **more):
        settings.BREVO_EVENTS = {"ENGINE": "worker", "CONSENT": function, **more}
        return function

    return give


@pytest.fixture
def observe():
    """Collect what a signal tells, for one test."""
    connected = []

    def collect(signal):
        told = []

        def receiver(sender, **kwargs):
            told.append(kwargs)

        signal.connect(receiver)
        connected.append((signal, receiver))
        return told

    yield collect
    for signal, receiver in connected:
        assert signal.disconnect(receiver)


@pytest.fixture
def _live(monkeypatch):
    """Take away Django's test environment, where errors are for seeing."""
    for module in ("conf", "tracking"):
        monkeypatch.setattr(f"brevo_events.{module}.is_testing", lambda: False)


def states():
    return list(OutboxEvent.objects.order_by("pk").values_list("name", "status", "reason"))


def sent():
    return [(body["email"], body["event"]) for body in locmem.sent]


def raising(error):
    def function(event):
        raise error

    return function


class IsGivenTests:
    def test_without_anybody_to_ask(self, ask):
        ask(None)

        assert consent.is_given(EVENT) is True

    @pytest.mark.parametrize(("name", "answer"), [("consent_is_given", True), ("consent_is_refused", False)])
    def test_asks_the_function_of_a_dotted_path(self, ask, name, answer):
        ask(f"tests.database.test_consent.{name}")

        assert consent.is_given(EVENT) is answer

    def test_asks_the_function_of_the_environment(self, settings, monkeypatch):
        monkeypatch.setenv("BREVO_EVENTS_CONSENT", "tests.database.test_consent.consent_is_refused")
        settings.BREVO_EVENTS = {}

        assert consent.is_given(EVENT) is False

    def test_takes_what_has_still_to_be_awaited_for_a_no(self, ask, caplog):
        class Asynchronous:
            async def __call__(self, event):
                return True

        ask(Asynchronous())

        assert consent.is_given(EVENT) is False
        assert "CONSENT is asynchronous" in caplog.text

    def test_asks_a_callable_object_with_the_event(self, ask):
        register = ask(Register(ADA))

        assert consent.is_given(EVENT) is True
        assert consent.is_given(Event("viewed", BOB)) is False
        assert register.asked == [EVENT, Event("viewed", BOB)]

    @pytest.mark.parametrize(
        ("answer", "expected"), [(True, True), (1, True), ("yes", True), (False, False), (None, False), ("", False)]
    )
    def test_takes_the_answer_for_a_yes_or_a_no(self, ask, answer, expected):
        ask(lambda event: answer)

        assert consent.is_given(EVENT) is expected

    @pytest.mark.parametrize("error", [ZeroDivisionError("inner"), KeyError("x"), Cart.DoesNotExist("none")])
    def test_takes_an_error_for_a_no_and_logs_it_without_the_address(self, ask, error, caplog):
        ask(raising(error))

        assert consent.is_given(EVENT) is False
        (logged,) = [entry for entry in caplog.records if entry.name == "brevo_events.consent"]
        assert logged.levelno == logging.ERROR
        assert logged.getMessage() == "CONSENT failed for an event viewed, which counts as no consent."
        assert logged.exc_info[1] is error
        assert ADA not in logged.getMessage()

    def test_lets_an_error_of_the_database_through(self, ask):
        ask(raising(DatabaseError("gone")))

        with pytest.raises(DatabaseError, match="gone"):
            consent.is_given(EVENT)

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_lets_the_end_of_the_process_through(self, ask, error):
        ask(raising(error()))

        with pytest.raises(error):
            consent.is_given(EVENT)

    @pytest.mark.parametrize(
        ("path", "why"),
        [
            ("nowhere.at_all", "which cannot be imported"),
            ("tests.database.test_consent.nothing", "which cannot be imported"),
            ("tests", "which cannot be imported"),
            ("", "which cannot be imported"),
            (".consent", "which cannot be imported"),
            ("..consent", "which cannot be imported"),
            ("tests.database.test_consent.ADA", "which is not a plain function"),
        ],
    )
    def test_of_a_path_that_leads_nowhere_is_an_invalid_setting(self, ask, path, why):
        ask(path)

        with pytest.raises(InvalidSetting) as caught:
            consent.is_given(EVENT)

        assert str(caught.value) == f"BREVO_EVENTS['CONSENT'] is {path!r}, {why}."


class CaptureTests:
    def test_keeps_what_the_contact_wants(self, ask):
        ask(Register(ADA))

        assert track("viewed", ADA) is not None
        assert states() == [("viewed", "pending", "")]

    @pytest.mark.parametrize("answer", [lambda event: False, lambda event: 1 / 0], ids=["no", "error"])
    def test_keeps_nothing_of_what_it_does_not_want(self, ask, answer, observe, django_assert_num_queries):
        ask(answer)
        captured, rejected = observe(event_captured), observe(event_rejected)

        with django_assert_num_queries(0):
            assert track("viewed", ADA) is None
            assert track(Event("viewed", ADA, idempotency_key="1", supersedes=("left",))) is None
            assert track_many([Event("viewed", ADA), Event("left", ADA)]) == []

        assert (captured, rejected) == ([], [])

    def test_supersedes_nothing_and_uses_no_key_up_where_the_answer_is_no(self, ask):
        register = ask(Register(ADA))
        track("viewed", ADA)
        register.emails.clear()
        track("bought", ADA, supersedes=("viewed",), idempotency_key="1001")
        register.emails.add(ADA)

        assert states() == [("viewed", "pending", "")]
        assert track("bought", ADA, idempotency_key="1001") is not None

    def test_asks_for_each_of_many(self, ask):
        register = ask(Register(ADA))
        events = [Event(name, email) for name, email in [("a", ADA), ("b", BOB), ("c", ADA)]]

        rows = track_many(events)

        assert [row.name for row in rows] == ["a", "c"]
        assert register.asked == events

    def test_goes_on_in_the_callers_transaction_after_an_error(self, ask, caplog):
        ask(lambda event: Product.objects.get(name="nobody"))

        with transaction.atomic():
            Product.objects.create(name="before", price=1)
            assert track("viewed", ADA) is None
            Product.objects.create(name="after", price=1)

        assert Product.objects.count() == 2
        assert "DoesNotExist" in caplog.text

    @pytest.mark.parametrize("raise_errors", [True, False])
    def test_lets_an_error_of_the_database_through(self, ask, raise_errors):
        def query_nothing(event):
            with connection.cursor() as cursor:
                cursor.execute("SELECT nothing FROM nowhere")

        ask(query_nothing, RAISE_ERRORS=raise_errors)

        with pytest.raises(DatabaseError), transaction.atomic():
            track("viewed", ADA)

        assert states() == []

    def test_does_not_ask_where_sending_is_not_enabled(self, ask):
        register = ask(Register(ADA), ENABLED=False)

        track("viewed", ADA)

        assert register.asked == []

    def test_is_given_the_event_with_all_that_it_holds(self, ask):
        register = ask(Register(ADA))
        event = Event("viewed", ADA, object_id="cart:1", data={"n": 1}, properties={"LANG": "fr"}, delay=5)

        track(event)

        assert register.asked == [event]
        assert (register.asked[0].data, register.asked[0].properties) == ({"n": 1}, {"LANG": "fr"})

    @pytest.mark.parametrize("path", ["tests.database.test_consent.nothing", ".consent"])
    def test_raises_under_test_where_the_path_leads_nowhere(self, ask, path):
        ask(path, RAISE_ERRORS=False)

        with pytest.raises(InvalidSetting, match="CONSENT"):
            track("viewed", ADA)

        assert states() == []

    @pytest.mark.usefixtures("_live")
    def test_raises_in_debug_where_the_path_leads_nowhere(self, ask, settings):
        settings.DEBUG = True
        ask("tests.database.test_consent.nothing")

        with pytest.raises(InvalidSetting, match="CONSENT"):
            track("viewed", ADA)

    @pytest.mark.usefixtures("_live")
    @pytest.mark.parametrize(
        "given", ["tests.database.test_consent.nothing", ".consent", "tests.database.test_consent.ADA", 5], ids=str
    )
    def test_keeps_the_event_elsewhere_and_logs_it(self, ask, given, caplog):
        ask(given, TRANSPORT="locmem")

        assert track("viewed", ADA) is not None
        assert "BREVO_EVENTS['CONSENT'] is" in caplog.text
        assert ADA not in caplog.text


class BeforeSendingTests:
    def test_sends_what_the_contact_still_wants(self, ask):
        ask(Register(ADA))
        track("viewed", ADA)

        deliver()

        assert sent() == [(ADA, "viewed")]

    def test_sends_nothing_of_what_it_does_not_want_any_more(self, ask, observe):
        register = ask(Register(ADA))
        track("viewed", ADA)
        register.emails.clear()
        told = observe(event_cancelled)

        delivered = deliver()

        row = OutboxEvent.objects.get()
        assert sent() == []
        assert (row.status, row.reason, row.attempts, row.response_code) == ("cancelled", "no_consent", 0, None)
        assert (row.due_at, row.lease_token) == (None, None)
        assert row.finished_at is not None
        assert not SendAttempt.objects.exists()
        assert delivered == {"cancelled": 1}
        assert [(each["event"].pk, each["event"].reason) for each in told] == [(row.pk, "no_consent")]

    def test_lets_the_next_event_of_the_contact_go_out(self, ask):
        unwanted = {"second"}
        register = Register(ADA)
        ask(lambda event: register(event) and (event.name not in unwanted or len(locmem.sent) == 0))
        for name in ("first", "second", "third"):
            track(name, ADA)

        deliver()

        assert sent() == [(ADA, "first"), (ADA, "third")]
        assert states() == [("first", "sent", ""), ("second", "cancelled", "no_consent"), ("third", "sent", "")]

    def test_holds_up_nobody_else(self, ask):
        register = ask(Register(ADA, BOB))
        track("viewed", ADA)
        track("viewed", BOB)
        register.emails.remove(ADA)

        deliver()

        assert sent() == [(BOB, "viewed")]

    def test_is_given_what_was_captured(self, ask):
        register = ask(Register(ADA))
        track("viewed", ADA, object_id="cart:1", data={"n": [1]}, properties={"LANG": "fr"}, coalesce=True)
        register.asked.clear()

        deliver()

        assert register.asked == [
            Event("viewed", ADA, object_id="cart:1", data={"n": [1]}, properties={"LANG": "fr"}),
        ]

    def test_is_given_the_contact_also_where_all_go_to_one_address(self, ask):
        register = ask(Register(ADA), OVERRIDE_EMAIL="staging@example.org")
        track("viewed", ADA)

        deliver()

        assert {event.email for event in register.asked} == {ADA}
        assert sent() == [("staging@example.org", "viewed")]

    def test_takes_an_error_for_a_no_and_goes_on_with_the_others(self, ask, caplog):
        answers = {}
        ask(lambda event: answers.get(event.email, True) or 1 / 0)
        track("viewed", ADA)
        track("viewed", BOB)
        answers[ADA] = False

        deliver()

        assert sent() == [(BOB, "viewed")]
        assert states() == [("viewed", "cancelled", "no_consent"), ("viewed", "sent", "")]
        assert "CONSENT failed for an event viewed" in caplog.text

    def test_of_a_row_that_an_older_version_kept_is_refused_and_holds_up_nobody(self, ask, caplog):
        ask(consent_is_given)
        old = track("viewed", ADA)
        OutboxEvent.objects.filter(pk=old.pk).update(email="no address")
        track("viewed", BOB)

        deliver()

        assert sent() == [(BOB, "viewed")]
        assert states()[0] == ("viewed", "cancelled", "no_consent")
        assert "no address" not in caplog.text

    def test_costs_no_probe_of_a_closed_gate(self, ask):
        register = ask(Register(ADA, *(f"{n}@example.com" for n in range(5))))
        for email in sorted(register.emails):
            track("viewed", email)
        register.emails = {ADA}
        gate = Gate.load()
        gate.close("account", 401)
        Gate.load().try_now()

        deliver()

        assert sent() == [(ADA, "viewed")]
        assert not Gate.load().is_closed
        assert [state for _, state, _ in states()] == ["cancelled"] * 5 + ["sent"]

    def test_that_takes_long_gives_the_others_back_in_time(self, monkeypatch, fake_brevo, settings):
        monkeypatch.setattr("brevo_events.delivery.pipeline.CONSENT_TTL", 0.15)
        track_many([Event("viewed", f"{n}@example.com") for n in range(8)])
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONSENT": lambda event: time.sleep(0.1) is None}
        pipeline = Pipeline()

        assert pipeline.step()

        assert OutboxEvent.objects.filter(status="pending", lease_token=None).count() >= 5
        while pipeline.step():
            pass
        pipeline.close()
        assert len(fake_brevo.requests) == 8
        assert {status for _, status, _ in states()} == {"sent"}

    def test_is_asked_again_where_the_turn_comes_late(self, fake_brevo, settings, monkeypatch):
        monkeypatch.setattr("brevo_events.delivery.pipeline.CONSENT_TTL", 0.1)
        register = Register(ADA, BOB)
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONSENT": register, "CONCURRENCY": 1}
        fake_brevo.always(Reply(204, delay=0.5))
        track("viewed", BOB)
        track("viewed", ADA)
        pipeline = Pipeline()
        assert pipeline.step()
        register.emails.remove(ADA)

        while pipeline.step():
            pass
        pipeline.close()

        assert [request.json["email"] for request in fake_brevo.requests] == [BOB]
        assert states() == [("viewed", "sent", ""), ("viewed", "cancelled", "no_consent")]

    def test_is_asked_again_at_each_attempt(self, ask, fake_brevo, settings):
        register = Register(ADA)
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONSENT": register, "RETRY_BACKOFF": 0}
        fake_brevo.always(Reply.error(500, "oops"))
        track("viewed", ADA)
        deliver(limit=1)
        register.emails.clear()

        deliver()

        assert len(fake_brevo.requests) == 1
        assert states() == [("viewed", "cancelled", "no_consent")]
        assert SendAttempt.objects.count() == OutboxEvent.objects.get().attempts == 1

    def test_sends_nothing_where_nobody_can_be_asked(self, ask):
        ask(None)
        track("viewed", ADA)
        ask("tests.database.test_consent.nothing")

        with pytest.raises(InvalidSetting, match="CONSENT"):
            deliver()

        assert sent() == []
        assert states() == [("viewed", "pending", "")]

    def test_costs_nothing_where_nobody_is_to_be_asked(self, ask, monkeypatch):
        ask(None)
        monkeypatch.setattr(OutboxEvent, "as_event", lambda self: pytest.fail("made an event for nobody"))
        track("viewed", ADA)

        deliver()

        assert sent() == [(ADA, "viewed")]


class DatabaseErrorBeforeSendingTests:
    """A database that does not answer says nothing about the contact: nothing is sent, and nothing is cancelled."""

    @pytest.fixture
    def register(self, ask):
        """Those who consent; once ``is_down`` is set, asking for Bob fails."""

        class Failing(Register):
            is_down = False

            def __call__(self, event):
                if self.is_down and event.email == BOB:
                    raise DatabaseError("gone")
                return super().__call__(event)

        register = ask(Failing(ADA, BOB), RETRY_BACKOFF=0)
        for email in (ADA, BOB, "eve@example.com"):
            register.emails.add(email)
            track("viewed", email)
        register.is_down = True
        return register

    def test_reaches_the_caller_of_a_single_delivery_and_gives_the_events_back(self, register):
        with pytest.raises(DatabaseError, match="gone"):
            deliver()

        # Ada's was asked about before, and may have been on its way.
        assert states()[0] == ("viewed", "sent" if sent() else "pending", "")
        assert states()[1:] == [("viewed", "pending", "")] * 2
        assert not OutboxEvent.objects.exclude(lease_token=None).exists()

    def test_reaches_the_caller_of_one_pass_and_gives_the_events_back(self, register):
        with pytest.raises(DatabaseError, match="gone"):
            Worker().run_once()

        # The others may have gone out, Ada's before the error and Eve's when the database was asked again.
        assert states()[1] == ("viewed", "pending", "")
        assert [status for _, status, _ in states()].count("sent") == len(sent())
        assert not OutboxEvent.objects.exclude(lease_token=None).exists()

    def test_is_outlived_by_a_worker_which_sends_later(self, register, monkeypatch, caplog):
        monkeypatch.setattr("brevo_events.worker.DATABASE_PAUSE", 0.01)
        worker = Worker()
        worker.work()
        register.is_down = False

        worker.drain()
        worker.finish()

        assert sorted(sent()) == [(ADA, "viewed"), (BOB, "viewed"), ("eve@example.com", "viewed")]
        assert states() == [("viewed", "sent", "")] * 3
        assert "gone" in caplog.text

    def test_that_lasts_holds_up_nobody_else(self, register, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "RETRY_BACKOFF": 30}
        with pytest.raises(DatabaseError, match="gone"):
            deliver()

        deliver()
        track("viewed", ADA)
        deliver()

        assert sorted(sent()) == [(ADA, "viewed")] * 2 + [("eve@example.com", "viewed")]
        bob = OutboxEvent.objects.get(email=BOB)
        assert (bob.status, bob.attempts, bob.lease_token) == ("pending", 0, None)

    def test_does_not_undo_the_no_of_another_contact(self, register, monkeypatch):
        monkeypatch.setattr("brevo_events.worker.DATABASE_PAUSE", 0.01)
        register.emails.remove(ADA)
        worker = Worker()
        worker.work()
        register.is_down = False

        worker.drain()
        worker.finish()

        assert states()[0] == ("viewed", "cancelled", "no_consent")
        assert sorted(sent()) == [(BOB, "viewed"), ("eve@example.com", "viewed")]
