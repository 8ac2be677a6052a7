from __future__ import annotations

import json
import logging
import sys

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connections, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.dispatch import Signal
from django.test.utils import isolate_apps

from brevo_events import Event, registration, track, track_on
from brevo_events.exceptions import InvalidEvent
from brevo_events.models import OutboxEvent, Status
from brevo_events.registration import Registration
from brevo_events.signals import event_captured, event_rejected
from brevo_events.transports import locmem
from tests.shop.models import Cart, Line, Product, Tag

ADA = "ada@example.com"


@pytest.fixture(autouse=True)
def registrations(monkeypatch):
    """Give an empty list of registrations; what a test registers and connects is gone after it."""
    fresh = []
    monkeypatch.setattr(registration, "registrations", fresh)
    signals = (post_save, post_delete, m2m_changed, user_logged_in, event_captured, event_rejected)
    kept = {signal: list(signal.receivers) for signal in signals}
    yield fresh
    for signal, receivers in kept.items():
        signal.receivers = receivers
        signal.sender_receivers_cache.clear()


@pytest.fixture
def not_raising(settings):
    settings.BREVO_EVENTS = {"RAISE_ERRORS": False}


def names():
    return [event.name for event in OutboxEvent.objects.order_by("pk")]


def listen(signals, returned, **options):
    """Register a function that returns this, or what it returns if it is a function itself."""

    @track_on(signals, **options)
    def listener(**kwargs):
        return returned(**kwargs) if callable(returned) else returned

    return listener


class DecoratorTests:
    def test_returns_the_function_unchanged(self):
        def cart_changed(sender, instance, **kwargs):
            return "what it returns"

        assert track_on(post_save, sender=Cart)(cart_changed) is cart_changed
        assert cart_changed(Cart, None) == "what it returns"

    @pytest.mark.parametrize(
        ("sender", "senders"),
        [(None, (None,)), (Cart, (Cart,)), ([Cart, Product], (Cart, Product)), ("shop.Cart", ("shop.Cart",))],
    )
    def test_remembers_what_is_listened_to(self, registrations, sender, senders):
        function = listen(post_save, None, sender=sender)

        assert registrations == [Registration(function, (post_save,), senders)]


@pytest.mark.django_db(transaction=True)
class SignalsTests:
    def test_a_save_is_captured_with_what_a_receiver_gets(self):
        @track_on(post_save, sender=Cart)
        def cart_changed(sender, instance, created, **kwargs):
            assert kwargs["signal"] is post_save
            assert kwargs["using"] == "default"
            return Event(f"{sender.__name__} {created}", instance.email, object_id=f"cart:{instance.pk}")

        cart = Cart.objects.create(email=ADA)
        cart.save()
        Product.objects.create(name="Shirt", price=1)

        events = OutboxEvent.objects.order_by("pk")
        assert [(event.name, event.email, event.object_id) for event in events] == [
            ("Cart True", ADA, f"cart:{cart.pk}"),
            ("Cart False", ADA, f"cart:{cart.pk}"),
        ]

    def test_a_delete_is_captured(self):
        listen(post_delete, lambda instance, **kwargs: Event("deleted", instance.email), sender=Cart)
        cart = Cart.objects.create(email=ADA)

        cart.delete()

        assert names() == ["deleted"]

    def test_a_change_of_a_relation_is_captured(self):
        def tagged(instance, action, **kwargs):
            return (
                Event("tagged", instance.email, data={"tags": instance.tags.count()}) if action[:4] == "post" else None
            )

        listen(m2m_changed, tagged, sender=Cart.tags.through)
        cart = Cart.objects.create(email=ADA)

        cart.tags.add(Tag.objects.create(name="a"), Tag.objects.create(name="b"))
        cart.tags.clear()

        assert [event.data for event in OutboxEvent.objects.order_by("pk")] == [{"tags": 2}, {"tags": 0}]

    def test_a_login_is_captured(self, client):
        listen(user_logged_in, lambda user, request, **kwargs: Event("login", user.email))

        client.force_login(User.objects.create_user("ada", ADA))

        assert names() == ["login"]
        assert locmem.sent == [{"email": ADA, "event": "login"}]

    def test_a_projects_own_signal_is_captured(self):
        paid = Signal()
        listen(paid, lambda sender, amount, **kwargs: Event("paid", ADA, data={"sender": sender, "amount": amount}))

        paid.send("the till", amount=3)

        assert OutboxEvent.objects.get().data == {"sender": "the till", "amount": 3}

    def test_a_projects_own_signal_is_captured_for_its_sender_only(self):
        paid, till, other = Signal(), object(), object()
        listen(paid, Event("paid", ADA), sender=till)

        paid.send(other)
        assert names() == []

        paid.send(till)
        assert names() == ["paid"]

    @pytest.mark.parametrize(
        "arguments", [{"using": "credit card"}, {"using": ""}, {"using": ["default"]}, {"raw": b"body"}, {"raw": False}]
    )
    def test_a_projects_own_signal_may_mean_something_else_by_an_argument(self, arguments):
        paid = Signal()
        listen(paid, Event("paid", ADA))

        paid.send(None, **arguments)

        assert names() == ["paid"]

    @pytest.mark.parametrize("signals", [[post_save, post_delete], (post_save, post_delete)])
    def test_several_may_be_listened_to(self, signals):
        listen(signals, Event("changed", ADA), sender=Cart)

        Cart.objects.create().delete()

        assert names() == ["changed", "changed"]

    @pytest.mark.parametrize("senders", [[Cart, Tag], (Cart, Tag), {Cart, Tag}, ["shop.Cart", Tag]])
    def test_several_senders_may_be_listened_to(self, senders):
        listen(post_save, lambda sender, **kwargs: Event(sender.__name__, ADA), sender=senders)

        Cart.objects.create()
        Tag.objects.create()
        Product.objects.create(name="Shirt", price=1)

        assert names() == ["Cart", "Tag"]

    def test_a_sender_may_be_named(self):
        listen(post_save, lambda sender, **kwargs: Event(sender.__name__, ADA), sender="shop.Cart")

        Cart.objects.create()
        Tag.objects.create()

        assert names() == ["Cart"]

    @isolate_apps("tests.shop")
    def test_a_model_hears_nothing_of_its_proxies_which_are_named_by_themselves(self):
        class Proxy(Cart):
            class Meta:
                proxy = True
                app_label = "shop"

        listen(post_save, Event("cart", ADA), sender=Cart)
        listen(post_save, Event("either", ADA), sender=[Cart, Proxy])

        Proxy.objects.create()

        assert names() == ["either"]

    def test_a_dispatch_uid_keeps_the_second_one_away(self):
        for _ in range(2):
            listen([post_save, post_delete], Event("changed", ADA), sender=[Cart, Tag], dispatch_uid="carts")

        Cart.objects.create()
        Tag.objects.create().delete()

        assert names() == ["changed"] * 3

    def test_the_function_is_not_forgotten_by_the_garbage_collector(self):
        import gc

        listen(post_save, Event("changed", ADA), sender=Cart)
        gc.collect()

        Cart.objects.create()

        assert names() == ["changed"]

    def test_fixtures_are_skipped(self, tmp_path):
        listen([post_save], lambda **kwargs: pytest.fail("called"), sender=Tag)
        fixture = tmp_path / "tags.json"
        fixture.write_text(json.dumps([{"model": "shop.tag", "pk": 1, "fields": {"name": "a"}}]))

        call_command("loaddata", str(fixture), verbosity=0)

        assert Tag.objects.count() == 1
        assert names() == []

    def test_nothing_is_called_where_it_is_not_enabled(self, settings):
        settings.BREVO_EVENTS = {"ENABLED": False}
        listen(post_save, lambda **kwargs: pytest.fail("called"), sender=Cart)

        Cart.objects.create()

        assert names() == []

    def test_the_event_belongs_to_the_callers_transaction(self):
        listen(post_save, Event("changed", ADA), sender=Cart)

        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Cart.objects.create()
            assert names() == ["changed"]
            raise ZeroDivisionError

        assert names() == []
        assert locmem.sent == []

    def test_an_observer_that_fails_harms_nothing(self):
        def fail(**kwargs):
            raise ZeroDivisionError

        event_captured.connect(fail, weak=False)
        listen(post_save, Event("changed", ADA), sender=Cart)

        Cart.objects.create()

        assert Cart.objects.count() == 1
        assert names() == ["changed"]


@pytest.mark.django_db(transaction=True)
class ReturnedTests:
    @pytest.mark.parametrize(
        ("returned", "expected"),
        [
            (None, []),
            ([], []),
            (Event("a", ADA), ["a"]),
            ([Event("a", ADA), Event("b", ADA)], ["a", "b"]),
            ((Event("a", ADA), Event("b", ADA)), ["a", "b"]),
            (lambda **kwargs: (Event(name, ADA) for name in "ab"), ["a", "b"]),
            (lambda **kwargs: iter(()), []),
        ],
        ids=["none", "empty list", "one", "list", "tuple", "generator", "empty generator"],
    )
    def test_is_captured(self, returned, expected):
        listen(post_save, returned, sender=Cart)

        Cart.objects.create()

        assert names() == expected

    def test_by_a_generator_function_is_captured(self):
        @track_on(post_save, sender=Cart)
        def cart_changed(instance, **kwargs):
            yield Event("a", ADA)
            yield Event("b", ADA)

        Cart.objects.create()

        assert names() == ["a", "b"]

    def test_of_several_is_one_statement(self, django_assert_num_queries):
        listen(post_save, [Event("a", ADA), Event("b", ADA)], sender=Cart)

        with transaction.atomic(), django_assert_num_queries(2):
            Cart.objects.create()

    def test_may_contain_none_as_of_an_anonymous_cart(self):
        @track_on(post_save, sender=Cart)
        def cart_changed(**kwargs):
            return [None, Event("a", ADA)]

        Cart.objects.create()

        assert OutboxEvent.objects.get().name == "a"

    @pytest.mark.parametrize("returned", ["changed", {"name": "changed"}, 5, True, Cart, [[Event("a", ADA)]]])
    def test_of_a_wrong_type_is_told_with_the_functions_name(self, returned):
        @track_on(post_save, sender=Cart)
        def cart_changed(**kwargs):
            return returned

        with pytest.raises(TypeError, match="cart_changed must return an Event, several, or None"):
            Cart.objects.create()

        assert names() == []

    def test_of_a_wrong_type_breaks_no_save_where_errors_are_not_raised(self, not_raising, caplog):
        listen(post_save, ["changed"], sender=Cart)

        Cart.objects.create()

        assert Cart.objects.count() == 1
        assert names() == []
        assert "must return an Event" in caplog.text


def fail(**kwargs):
    raise LookupError("no such thing")


def fail_late(**kwargs):
    yield Event("a", ADA)
    raise LookupError("no such thing")


def give_invalid(**kwargs):
    return Event("", ADA)


@pytest.mark.django_db(transaction=True)
class FailingFunctionTests:
    @pytest.mark.parametrize(
        ("function", "error"), [(fail, LookupError), (fail_late, LookupError), (give_invalid, InvalidEvent)]
    )
    def test_raises_where_errors_are_raised(self, function, error):
        track_on(post_save, sender=Cart)(function)

        with pytest.raises(error), transaction.atomic():
            Cart.objects.create()

        assert not Cart.objects.exists()

    @pytest.mark.parametrize("function", [fail, fail_late, give_invalid])
    def test_does_not_break_the_save_elsewhere(self, not_raising, caplog, function):
        track_on(post_save, sender=Cart)(function)

        with transaction.atomic():
            Cart.objects.create()
            Cart.objects.create()

        assert Cart.objects.count() == 2
        assert names() == []
        logged = [entry for entry in caplog.records if entry.name == "brevo_events.tracking"]
        assert [entry.levelno for entry in logged] == [logging.ERROR] * 2
        assert f"in {function.__name__}" in caplog.text

    def test_is_announced_as_the_sender(self, not_raising):
        announced = []
        event_rejected.connect(lambda sender, error, **kwargs: announced.append((sender, str(error))), weak=False)
        track_on(post_save, sender=Cart)(fail)

        Cart.objects.create()

        assert announced == [(fail, "no such thing")]

    def test_keeps_the_others_running(self, not_raising):
        track_on(post_save, sender=Cart)(fail)
        listen(post_save, Event("changed", ADA), sender=Cart)

        Cart.objects.create()

        assert names() == ["changed"]

    def test_lets_database_errors_through(self, not_raising):
        def write(instance, **kwargs):
            Cart.objects.bulk_create([Cart(pk=instance.pk)])

        listen(post_save, write, sender=Cart)

        with pytest.raises(IntegrityError):
            Cart.objects.create()

    def test_lets_the_database_errors_of_a_generator_through(self, not_raising):
        @track_on(post_save, sender=Cart)
        def write(**kwargs):
            yield Event("a", ADA)
            raise DatabaseError("gone")

        with pytest.raises(DatabaseError, match="gone"):
            Cart.objects.create()

    def test_lets_the_database_errors_of_the_capture_through(self, not_raising):
        def refuse(execute, sql, params, many, context):
            if "brevo_events_outboxevent" in sql:
                raise IntegrityError("refused")
            return execute(sql, params, many, context)

        listen(post_save, Event("a", ADA), sender=Cart)

        with connections["default"].execute_wrapper(refuse), pytest.raises(IntegrityError, match="refused"):
            Cart.objects.create()

    def test_lets_the_user_stop_it(self, not_raising):
        def interrupt(**kwargs):
            raise KeyboardInterrupt

        listen(post_save, interrupt, sender=Cart)

        with pytest.raises(KeyboardInterrupt):
            Cart.objects.create()


class ShopElsewhere:
    def db_for_read(self, model, **hints):
        return "other" if model._meta.app_label == "shop" else None

    db_for_write = db_for_read


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
class OtherDatabaseTests:
    @pytest.fixture(autouse=True)
    def _shop_elsewhere(self, settings):
        settings.DATABASE_ROUTERS = ["tests.database.test_registration.ShopElsewhere"]
        listen([post_save, post_delete], Event("changed", ADA), sender=Cart)

    def test_the_event_is_written_after_that_commit(self):
        with transaction.atomic(using="other"):
            Cart.objects.create()

            assert names() == []

        assert names() == ["changed"]
        assert OutboxEvent.objects.using("default").count() == 1
        assert OutboxEvent.objects.using("other").count() == 0
        assert len(locmem.sent) == 1

    def test_nothing_is_written_after_a_rollback(self):
        with pytest.raises(ZeroDivisionError), transaction.atomic(using="other"):
            Cart.objects.create()
            raise ZeroDivisionError

        assert names() == []
        assert locmem.sent == []

    @pytest.fixture(params=["signal", "track"])
    def order(self, request):
        """Report an order: by a signal that isn't a model's, or directly."""
        ordered = Signal()
        listen(ordered, Event("ordered", ADA))
        return {"signal": lambda: ordered.send("shop"), "track": lambda: track("ordered", ADA)}[request.param]

    def test_events_of_other_signals_and_direct_ones_keep_their_place_after_it(self, order):
        with transaction.atomic(using="other"):
            Cart.objects.create()
            order()

            assert names() == []

        assert names() == ["changed", "ordered"]

    def test_nothing_of_other_signals_and_no_direct_one_is_written_after_a_rollback(self, order):
        with pytest.raises(ZeroDivisionError), transaction.atomic(using="other"):
            order()
            raise ZeroDivisionError

        assert names() == []

    def test_nothing_of_a_savepoint_that_is_rolled_back_is_written(self):
        with transaction.atomic(using="other"):
            with pytest.raises(ZeroDivisionError), transaction.atomic(using="other"):
                Cart.objects.create()
                raise ZeroDivisionError
            Line.objects.create(cart=Cart.objects.create())

        assert names() == ["changed"]

    def test_the_event_is_written_at_once_without_a_transaction(self):
        Cart.objects.create()

        assert names() == ["changed"]

    def test_the_event_of_a_delete_is_written_after_it(self):
        cart = Cart.objects.create()

        cart.delete()

        assert names() == ["changed", "changed"]

    def test_the_event_belongs_to_the_outboxs_transaction_too_where_one_is_open(self):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            with transaction.atomic(using="other"):
                Cart.objects.create()
            assert names() == ["changed"]
            assert locmem.sent == []
            raise ZeroDivisionError

        assert Cart.objects.count() == 1
        assert names() == []

    def test_a_rollback_of_the_outboxs_transaction_alone_loses_nothing(self):
        with transaction.atomic(using="other"), pytest.raises(ZeroDivisionError), transaction.atomic():
            Cart.objects.create()
            raise ZeroDivisionError

        assert names() == ["changed"]

    def test_an_error_of_the_outbox_after_the_commit_is_logged_where_it_is_not_a_test(self, monkeypatch, caplog):
        def refuse(execute, sql, params, many, context):
            raise DatabaseError("gone")

        monkeypatch.setattr("brevo_events.tracking.is_testing", lambda: False)

        with connections["default"].execute_wrapper(refuse), transaction.atomic(using="other"):
            Cart.objects.create()

        assert Cart.objects.count() == 1
        assert names() == []
        assert "gone" in caplog.text


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
class SameModelOnOtherAliasTests:
    def test_the_alias_counts_on_which_it_was_saved(self):
        listen(post_save, Event("changed", ADA), sender=Cart)

        with pytest.raises(ZeroDivisionError), transaction.atomic(using="other"):
            Cart(email=ADA).save(using="other")
            Cart(email=ADA).save(using="default")
            assert names() == ["changed"]
            raise ZeroDivisionError

        assert names() == ["changed"]


class AutodiscoverTests:
    def test_imports_the_module_of_every_app(self, tmp_path, monkeypatch, settings, registrations):
        package = tmp_path / "discovered_app"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "brevo_events.py").write_text(
            "from django.dispatch import Signal\n"
            "from brevo_events import track_on\n"
            "@track_on(Signal())\n"
            "def found(**kwargs): return None\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "discovered_app"]

        try:
            apps.get_app_config("brevo_events").ready()
            registration.autodiscover()

            assert [registered.function.__name__ for registered in registrations] == ["found"]
        finally:
            for name in [name for name in sys.modules if name.startswith("discovered_app")]:
                del sys.modules[name]


@pytest.mark.django_db(transaction=True)
def test_an_event_of_a_signal_ends_as_sent():
    listen(post_save, lambda instance, **kwargs: Event("changed", instance.email), sender=Cart)

    Cart.objects.create(email=ADA)

    assert OutboxEvent.objects.get().status == Status.SENT


@pytest.mark.django_db
class SourceTests:
    """Which row an event is told to come from."""

    def sources(self):
        return list(OutboxEvent.objects.order_by("pk").values_list("source", flat=True))

    def test_is_the_instance_of_djangos_signals(self):
        listen(post_save, Event("changed", ADA), sender=Cart)
        cart = Cart.objects.create()

        assert self.sources() == [f"shop.cart:{cart.pk}"]

    def test_is_the_only_row_that_another_signal_brings(self):
        placed = Signal()
        listen(placed, Event("bought", ADA))
        cart, product = Cart.objects.create(), Product.objects.create(name="Mug", price=1)

        placed.send("shop", order=cart, number=7)
        placed.send("shop", order=cart, product=product)
        placed.send("shop", order=Cart())
        placed.send("shop", number=7)

        assert self.sources() == [f"shop.cart:{cart.pk}", "", "", ""]

    def test_is_the_instance_if_there_are_other_rows(self):
        changed = Signal()
        listen(changed, Event("changed", ADA))
        cart, product = Cart.objects.create(), Product.objects.create(name="Mug", price=1)

        changed.send("shop", product=product, instance=cart)

        assert self.sources() == [f"shop.cart:{cart.pk}"]
