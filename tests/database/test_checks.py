from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.core.checks import Error, Tags, Warning, run_checks  # noqa: A004
from django.core.checks.registry import registry
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection, connections, models, router
from django.db.models.signals import post_delete, post_save
from django.dispatch import Signal
from django.test.utils import isolate_apps

from brevo_events import checks, conf, registration, track_on
from brevo_events.models import OutboxEvent
from tests.conftest import KEY
from tests.shop.models import Cart, Product

REAL = {"MA_KEY": KEY, "TRANSPORT": "http"}


class CartsElsewhere:
    def db_for_write(self, model, **hints):
        return "other" if model._meta.label == "shop.Cart" else None


class OutboxElsewhere:
    def db_for_write(self, model, **hints):
        return "other" if model._meta.app_label == "brevo_events" else None


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("BREVO_MA_KEY", "BREVO_EVENTS_MA_KEY"):
        monkeypatch.delenv(name, raising=False)
    conf.settings.forget()
    yield
    conf.settings.forget()


@pytest.fixture
def live(monkeypatch):
    """Take away Django's test environment, where the defaults are others."""
    monkeypatch.setattr(conf, "is_testing", lambda: False)


@pytest.fixture
def registrations(monkeypatch):
    """Give an empty list of registrations; what a test registers is gone after it."""
    fresh = []
    monkeypatch.setattr(registration, "registrations", fresh)
    return fresh


@pytest.fixture
def database_options(monkeypatch):
    def give(**options):
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)

    return give


def found(check=checks.check_settings, **kwargs):
    return [(problem.id.removeprefix("brevo_events."), problem.msg, problem.hint) for problem in check(None, **kwargs)]


def one(check=checks.check_settings, **kwargs):
    (problem,) = found(check, **kwargs)
    return problem


class AllChecksTests:
    def test_are_run_by_django(self, settings):
        settings.BREVO_EVENTS = {"COLOUR": 1}

        assert [problem.id for problem in run_checks() if problem.id.startswith("brevo")] == ["brevo_events.E001"]

    def test_have_nothing_to_say_of_a_well_set_project(self, settings, live, registrations):
        settings.BREVO_EVENTS = {**REAL, "URL": "https://example.com/trackEvent", "ENGINE": "worker", "TIMEOUT": 3}

        found_here = [problem for problem in run_checks() if problem.id.startswith("brevo")]
        assert found_here == []

    @pytest.mark.django_db
    def test_look_at_the_database_without_being_asked_to(self, database_options):
        database_options(transaction_mode="DEFERRED", isolation_level="serializable")

        found_ids = {problem.id for problem in run_checks()}

        concerned = {"brevo_events.W003", "brevo_events.W005"}
        assert bool(found_ids & concerned) == (connection.vendor in ("sqlite", "mysql"))

    def test_ask_for_time_zones(self, settings):
        settings.USE_TZ = False

        assert "brevo_events.E007" in {problem.id for problem in run_checks()}


class UnknownKeyTests:
    @pytest.mark.parametrize(
        ("key", "nearest"),
        [
            ("TIMOUT", "TIMEOUT"),
            ("timeout", "TIMEOUT"),
            ("MAX_ATTEMPT", "MAX_ATTEMPTS"),
            ("MA_KEYS", "MA_KEY"),
            ("APIKEY", "API_KEY"),
            ("ma_key", "MA_KEY"),
            ("ENABLE", "ENABLED"),
            ("TRANSPORTS", "TRANSPORT"),
        ],
    )
    def test_names_the_nearest_known_one(self, settings, key, nearest):
        settings.BREVO_EVENTS = {key: "secret"}

        assert one() == ("E001", f"BREVO_EVENTS has the unknown key {key!r}.", f"Did you mean {nearest!r}?")

    @pytest.mark.parametrize("key", ["QQQQ", "", 7])
    def test_that_is_near_to_none_lists_them_all(self, settings, key):
        settings.BREVO_EVENTS = {key: "secret"}

        number, message, hint = one()
        assert number == "E001"
        assert all(known in hint for known in ["MA_KEY", *conf.settings.options()])
        assert "secret" not in message + hint

    def test_is_told_of_each(self, settings):
        settings.BREVO_EVENTS = {"AAAA": 1, "BBBB": 2}

        assert [number for number, _, _ in found()] == ["E001", "E001"]

    def test_is_an_error(self, settings):
        settings.BREVO_EVENTS = {"AAAA": 1}

        assert isinstance(checks.check_settings(None)[0], Error)


class ValuesTests:
    @pytest.mark.parametrize(
        ("key", "value", "number", "fragment"),
        [
            ("CONCURRENCY", "many", "E002", "must be of type int"),
            ("CONCURRENCY", 0, "E002", "must be from 1 to 256"),
            ("TIMEOUT", 1000, "E002", "must be from 0.1 to 60"),
            ("ENABLED", "yes", "E002", "must be of type bool"),
            ("TRANSPORT", None, "E002", "must be of type str"),
            ("ENGINE", 5, "E002", "must be of type str"),
            ("URL", "http://in-automate.brevo.com/", "E004", "must begin with https://"),
            ("URL", 7, "E004", "must be of type str"),
            ("TRANSPORT", "smoke", "E003", "use http, console, locmem or the dotted path"),
            ("TRANSPORT", "shop.nowhere.Transport", "E003", "'shop.nowhere.Transport'"),
            ("TRANSPORT", "brevo_events.transports.http.Nothing", "E003", "'brevo_events.transports.http.Nothing'"),
            ("TRANSPORT", "brevo_events.engines.Engine", "E003", "not a subclass of Transport"),
            ("TRANSPORT", "brevo_events.transports.current", "E003", "not a subclass of Transport"),
            ("ENGINE", "cron", "E003", "or the dotted path of a class"),
            ("ENGINE", "shop.nowhere.Engine", "E003", "'shop.nowhere.Engine'"),
            ("ENGINE", "brevo_events.transports.Transport", "E003", "not a subclass of Engine"),
            ("EXPIRES", 0, "E002", "from more than 0 to 366 days"),
            ("EXPIRES", {"viewed": "soon"}, "E002", "or a dict of those by event name"),
            ("EXPIRES", "3600", "E002", "must be of type int or float or timedelta or Mapping"),
            ("RETENTION_DAYS", -1, "E002", "must be from 0 to 36500"),
            ("FAILED_RETENTION_DAYS", "90", "E002", "must be of type float"),
            ("OVERRIDE_EMAIL", "staging", "E002", "must be one e-mail address"),
            ("CONSENT", 5, "E002", "must be of type str or Callable"),
            ("CONSENT", "shop.nowhere.consent", "E003", "which cannot be imported"),
            ("CONSENT", "tests.database.test_checks.nothing", "E003", "which cannot be imported"),
            ("CONSENT", "", "E003", "which cannot be imported"),
            ("CONSENT", ".consent", "E003", "which cannot be imported"),
            ("CONSENT", "tests.conftest.KEY", "E003", "which is not a plain function"),
        ],
    )
    def test_that_cannot_be_used_are_told_once(self, settings, key, value, number, fragment):
        settings.BREVO_EVENTS = {key: value}

        found_number, message, hint = one()
        assert found_number == number
        assert message.startswith(f"BREVO_EVENTS[{key!r}] is {value!r}")
        assert fragment in message
        assert hint

    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"TRANSPORT": "brevo_events.transports.http.HttpTransport"},
            {"ENGINE": "brevo_events.engines.inline.InlineEngine"},
            {"URL": "http://127.0.0.1:8025/"},
            {"MA_KEY": KEY},
            {"EXPIRES": {"viewed": 3600}},
            {"EXPIRES": None, "CONSENT": None, "OVERRIDE_EMAIL": None},
            {"CONSENT": len},
            {"CONSENT": "tests.database.test_checks.found"},
            {"RETENTION_DAYS": 0, "FAILED_RETENTION_DAYS": 0.5},
        ],
    )
    def test_that_can_be_used_are_not(self, settings, given):
        settings.BREVO_EVENTS = given

        assert found() == []

    def test_of_the_environment_are_told_too(self, monkeypatch):
        monkeypatch.setenv("BREVO_EVENTS_TIMEOUT", "soon")
        conf.settings.forget()

        assert one()[:2] == ("E002", "BREVO_EVENTS_TIMEOUT is 'soon': it must be of type float.")

    @pytest.mark.parametrize("given", [{"ENABLED": "yes"}, {"RAISE_ERRORS": 1}, {"EXPIRES": 0}], ids=str)
    def test_values_that_production_does_without_are_told_there_too(self, settings, live, given):
        settings.BREVO_EVENTS = given

        assert one()[0] == "E002"

    def test_of_consent_say_what_to_do(self, settings):
        settings.BREVO_EVENTS = {"CONSENT": "shop.nowhere.consent"}

        assert one()[2] == "Correct the spelling of CONSENT, or install what it names."

    def test_of_the_environment_name_consent_too(self, monkeypatch):
        monkeypatch.setenv("BREVO_EVENTS_CONSENT", "shop.nowhere.consent")
        conf.settings.forget()

        assert one()[0] == "E003"

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("BREVO_EVENTS_TIMOUT", "Did you mean 'TIMEOUT'?"),
            ("BREVO_EVENTS_MAKEY", "Did you mean 'MA_KEY'?"),
            ("BREVO_EVENTS_QQQQ", "The keys are: "),
        ],
    )
    def test_variable_of_the_environment_that_sets_nothing_is_warned_of(self, monkeypatch, name, hint):
        monkeypatch.setenv(name, "secret")

        number, message, found_hint = one()
        assert number == "W008"
        assert message == f"The environment variable {name} has no effect: there is no such key."
        assert found_hint.startswith(hint)
        assert isinstance(checks.check_settings(None)[0], Warning)

    @pytest.mark.parametrize(
        ("key", "value", "said"),
        [("ENGINE", "celery", "worker"), ("ENABLED", True, "0"), ("MA_KEY", KEY, "other"), ("TIMEOUT", 3.0, "soon")],
    )
    def test_variable_of_the_environment_that_the_dict_overrules_is_warned_of(
        self, settings, monkeypatch, key, value, said
    ):
        settings.BREVO_EVENTS = {key: value}
        monkeypatch.setenv(f"BREVO_EVENTS_{key}", said)

        number, message, hint = one()
        assert number == "W008"
        assert message == f"The environment variable BREVO_EVENTS_{key} has no effect: BREVO_EVENTS[{key!r}] differs."
        assert "comes first" in hint

    @pytest.mark.parametrize(("key", "value", "said"), [("ENABLED", True, "1"), ("TIMEOUT", 3, "3.0")])
    def test_variable_of_the_environment_that_says_the_same_is_not_warned_of(
        self, settings, monkeypatch, key, value, said
    ):
        settings.BREVO_EVENTS = {key: value}
        monkeypatch.setenv(f"BREVO_EVENTS_{key}", said)

        assert found() == []

    @pytest.mark.parametrize("name", ["BREVO_EVENTS_TIMEOUT", "BREVO_EVENTS_MA_KEY", "BREVO_EVENT_TIMEOUT"])
    def test_other_variables_of_the_environment_are_not_warned_of(self, monkeypatch, name):
        monkeypatch.setenv(name, "3")

        assert found() == []

    def test_are_all_told_at_once(self, settings):
        settings.BREVO_EVENTS = {"TIMEOUT": -1, "URL": "ftp://x", "ENGINE": "cron", "TIMOUT": 1}

        assert sorted(number for number, _, _ in found()) == ["E001", "E002", "E003", "E004"]

    def test_are_not_looked_at_where_there_is_no_dict(self, settings):
        settings.BREVO_EVENTS = [KEY]

        number, message, hint = one()
        assert (number, message) == ("E002", "BREVO_EVENTS must be a dict, not list.")
        assert "MA_KEY" in hint

    @pytest.mark.parametrize(
        "check", [checks.check_key, checks.check_transport, checks.check_senders, checks.check_override]
    )
    def test_that_are_no_dict_break_no_other_check(self, settings, live, registrations, check):
        settings.BREVO_EVENTS = 7

        assert KEY not in str(check(None))

    def test_that_are_no_dict_are_all_that_the_command_tells_of(self, settings, live):
        settings.BREVO_EVENTS = [KEY]

        with pytest.raises(SystemCheckError, match="BREVO_EVENTS must be a dict") as raised:
            call_command("check")

        assert str(raised.value).count("brevo_events.E") == 1
        assert KEY not in str(raised.value)


@pytest.mark.usefixtures("live")
class KeyTests:
    def test_that_is_missing_is_a_warning(self, settings):
        settings.BREVO_EVENTS = {}

        number, message, hint = one(checks.check_key)
        assert (number, message) == ("W001", "BREVO_EVENTS['MA_KEY'] is not set.")
        assert "none can be sent" in hint
        assert isinstance(checks.check_key(None)[0], Warning)

    def test_of_the_api_is_an_error_that_says_where_the_right_one_is(self, settings):
        settings.BREVO_EVENTS = {**REAL, "MA_KEY": f"xkeysib-{KEY}"}

        number, message, hint = one(checks.check_key)
        assert (number, message) == ("E005", "BREVO_EVENTS['MA_KEY'] is a key of Brevo's API v3.")
        assert "Automation" in hint
        assert KEY not in message + hint

    @pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY} ", f"é{KEY}", 5])
    def test_that_no_header_carries_is_an_error_that_does_not_show_it(self, settings, key):
        settings.BREVO_EVENTS = {**REAL, "MA_KEY": key}

        number, message, hint = one(checks.check_key)
        assert number == "E002"
        assert KEY not in message + hint

    def test_of_a_callable_is_not_asked_for(self, settings):
        settings.BREVO_EVENTS = {"MA_KEY": lambda: pytest.fail("asked")}
        settings.DEBUG = True

        assert found(checks.check_key) == found(checks.check_transport) == []

    @pytest.mark.parametrize("transport", ["console", "locmem"])
    def test_is_not_needed_by_other_transports(self, settings, transport):
        settings.BREVO_EVENTS = {"TRANSPORT": transport}

        assert found(checks.check_key) == []

    def test_is_fine(self, settings):
        settings.BREVO_EVENTS = {"MA_KEY": KEY}

        assert found(checks.check_key) == []

    def test_is_not_needed_under_test(self, settings, monkeypatch):
        monkeypatch.setattr(conf, "is_testing", lambda: True)
        settings.BREVO_EVENTS = {"TRANSPORT": "http"}

        assert found(checks.check_key) == []


@pytest.mark.usefixtures("live")
class LiveInDebugTests:
    @pytest.mark.parametrize(
        ("given", "debug", "expected"),
        [
            ({"MA_KEY": KEY}, True, ["W002"]),
            ({"MA_KEY": KEY}, False, []),
            ({}, True, []),
            ({"MA_KEY": KEY, "TRANSPORT": "console"}, True, []),
            ({"MA_KEY": KEY, "URL": "http://127.0.0.1:8025/"}, True, []),
            ({"MA_KEY": KEY, "URL": "https://proxy.example.com/"}, True, ["W002"]),
            ({"MA_KEY": KEY, "URL": "http://example.com/"}, True, []),
            ({"MA_KEY": f"{KEY}\n"}, True, []),
        ],
    )
    def test_is_warned_of(self, settings, given, debug, expected):
        settings.BREVO_EVENTS = given
        settings.DEBUG = debug

        assert [number for number, _, _ in found(checks.check_transport)] == expected

    def test_says_how_to_stay_quiet(self, settings):
        settings.BREVO_EVENTS = {"MA_KEY": KEY}
        settings.DEBUG = True

        _, message, hint = one(checks.check_transport)
        assert "'console'" in hint
        assert KEY not in message + hint


class OverrideTests:
    @pytest.mark.parametrize("address", [None, "", "staging", 5])
    def test_is_not_told_of_where_it_is_off_or_wrong(self, settings, address):
        settings.BREVO_EVENTS = {"OVERRIDE_EMAIL": address}

        assert found(checks.check_override) == []

    def test_is_a_warning_that_does_not_show_the_address(self, settings):
        settings.BREVO_EVENTS = {"OVERRIDE_EMAIL": "staging@example.org"}

        number, message, hint = one(checks.check_override)
        assert number == "W007"
        assert message == (
            "BREVO_EVENTS['OVERRIDE_EMAIL'] is on: every event is sent for that address instead of its contact's."
        )
        assert hint == "That is right for staging. In production, leave OVERRIDE_EMAIL out."
        assert isinstance(checks.check_override(None)[0], Warning)

    def test_is_told_of_where_the_environment_sets_it(self, monkeypatch):
        monkeypatch.setenv("BREVO_EVENTS_OVERRIDE_EMAIL", "staging@example.org")
        conf.settings.forget()

        assert one(checks.check_override)[0] == "W007"

    def test_is_told_by_django(self, settings):
        settings.BREVO_EVENTS = {"OVERRIDE_EMAIL": "staging@example.org"}

        assert "brevo_events.W007" in {problem.id for problem in run_checks()}


class UrlTests:
    @pytest.mark.parametrize(
        "url", [None, "http://127.0.0.1:8025/api/v2/trackEvent", "https://a.example/trackEvent?x=1"]
    )
    def test_is_silent_if_the_address_of_identify_is_beside_it(self, settings, url):
        settings.BREVO_EVENTS = {"URL": url} if url else {}

        assert found(checks.check_url) == []

    def test_says_what_identify_would_call_otherwise(self, settings):
        settings.BREVO_EVENTS = {"URL": "https://proxy.example.com/brevo"}

        number, message, hint = one(checks.check_url)
        assert number == "W014"
        assert message == "BREVO_EVENTS['URL'] 'https://proxy.example.com/brevo' does not end in /trackEvent."
        assert hint.startswith("identify() calls https://proxy.example.com/identify:")
        assert isinstance(checks.check_url(None)[0], Warning)

    def test_leaves_a_url_that_is_none_to_another_check(self, settings):
        settings.BREVO_EVENTS = {"URL": "ftp://example.com"}

        assert found(checks.check_url) == []


class ApiKeyTests:
    @pytest.mark.parametrize("key", [None, "", "xkeysib-1", lambda: 1 / 0])
    def test_is_silent_without_one_and_with_one_and_asks_no_callable(self, settings, key):
        settings.BREVO_EVENTS = {"API_KEY": key}

        assert found(checks.check_api_key) == []

    def test_names_a_bad_one_without_showing_it(self, settings):
        settings.BREVO_EVENTS = {"API_KEY": "xkeysib-1\n"}

        number, message, _hint = one(checks.check_api_key)
        assert number == "E002"
        assert message.startswith("BREVO_EVENTS['API_KEY'] has a character")
        assert "xkeysib" not in message


class TagTests:
    def test_all_can_be_run_by_their_tag(self):
        assert {"brevo_events", "brevo_events_key"} <= registry.tags_available()


class SqliteTests:
    @pytest.fixture(autouse=True)
    def _on_sqlite(self, monkeypatch):
        monkeypatch.setattr(connections["default"], "vendor", "sqlite")

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, ["W003"]),
            ({"timeout": 20}, ["W003"]),
            ({"transaction_mode": "DEFERRED"}, ["W003"]),
            ({"transaction_mode": None}, ["W003"]),
            ({"transaction_mode": "IMMEDIATE"}, []),
            ({"transaction_mode": "immediate"}, []),
            ({"transaction_mode": "EXCLUSIVE"}, []),
        ],
    )
    def test_must_lock_early(self, database_options, options, expected):
        database_options(**options)

        assert [number for number, _, _ in found(checks.check_databases)] == expected

    def test_is_told_what_to_set(self, database_options):
        database_options()

        _, message, hint = one(checks.check_databases)
        assert "'default' uses deferred transactions" in message
        assert hint == "Set DATABASES['default']['OPTIONS'] = {'transaction_mode': 'IMMEDIATE'}."

    def test_is_looked_at_where_the_router_puts_the_outbox(self, settings, database_options):
        settings.DATABASE_ROUTERS = [OutboxElsewhere()]
        database_options(transaction_mode="IMMEDIATE")

        assert "'other'" in one(checks.check_databases)[1]


class IsolationTests:
    @pytest.mark.parametrize(
        ("vendor", "options", "expected"),
        [
            ("mysql", {}, []),
            ("mysql", {"isolation_level": "read committed"}, []),
            ("mysql", {"isolation_level": "Read Committed"}, []),
            ("mysql", {"isolation_level": "repeatable read"}, ["W005"]),
            ("mysql", {"isolation_level": "serializable"}, ["W005"]),
            ("mysql", {"isolation_level": None}, ["W005"]),
            ("postgresql", {"isolation_level": 3}, []),
            ("postgresql", {}, []),
        ],
    )
    def test_is_checked_on_mariadb(self, monkeypatch, database_options, vendor, options, expected):
        monkeypatch.setattr(connections["default"], "vendor", vendor)
        database_options(**options)

        assert [number for number, _, _ in found(checks.check_databases)] == expected


class ClockTests:
    @pytest.fixture(autouse=True)
    def _on_sqlite(self, settings):
        settings.DATABASE_ROUTERS = [OutboxElsewhere()]

    @pytest.mark.parametrize(
        ("zone", "expected"), [(None, []), ("UTC", []), ("Etc/UTC", []), ("Asia/Tokyo", ["E008"]), ("GMT", ["E008"])]
    )
    def test_time_zone_of_the_outboxs_database_must_be_utc(self, monkeypatch, zone, expected):
        monkeypatch.setitem(connections["other"].settings_dict, "TIME_ZONE", zone)

        problems = [number for number, _, _ in found(checks.check_databases) if number != "W003"]

        assert problems == expected

    def test_time_zone_error_says_where_it_is_set(self, monkeypatch):
        monkeypatch.setitem(connections["other"].settings_dict, "TIME_ZONE", "Asia/Tokyo")

        _, message, hint = next(problem for problem in found(checks.check_databases) if problem[0] == "E008")
        assert message == "DATABASES['other']['TIME_ZONE'] is 'Asia/Tokyo', but the outbox keeps its times in UTC."
        assert "Leave TIME_ZONE out" in hint

    def test_time_zone_of_a_database_that_knows_time_zones_does_not_matter(self, monkeypatch):
        monkeypatch.setitem(connections["other"].settings_dict, "TIME_ZONE", "Asia/Tokyo")
        monkeypatch.setattr(connections["other"].features, "supports_timezones", True)

        assert "E008" not in {number for number, _, _ in found(checks.check_databases)}


class ServerTests:
    @pytest.fixture
    def server(self, monkeypatch):
        """Let the outbox's database be some server."""

        def let_be(**what):
            fake = SimpleNamespace(**{"vendor": "mysql", "mysql_is_mariadb": True, **what})
            monkeypatch.setattr(checks, "connections", {"default": fake})

        return let_be

    @pytest.mark.parametrize(
        ("is_mariadb", "version", "named"),
        [
            (False, (8, 4, 6), "MySQL 8.4.6"),
            (False, (11, 0, 0), "MySQL 11.0.0"),
            (True, (10, 5, 29), "MariaDB 10.5.29"),
        ],
    )
    def test_server_that_is_not_supported_is_an_error(self, server, is_mariadb, version, named):
        server(mysql_is_mariadb=is_mariadb, mysql_version=version)

        number, message, hint = one(checks.check_server, databases=["default"])
        assert number == "E009"
        assert message == f"The database 'default' is {named}, which brevo_events does not support."
        assert hint.startswith("Use MariaDB 10.6 or newer")

    @pytest.mark.parametrize("version", [(10, 6, 0), (10, 11, 14), (12, 0, 2)])
    def test_newer_mariadb_is_fine(self, server, version):
        server(mysql_version=version)

        assert found(checks.check_server, databases=["default"]) == []

    def test_other_servers_are_fine(self, server):
        server(vendor="postgresql")

        assert found(checks.check_server, databases=["default"]) == []

    @pytest.mark.parametrize("databases", [None, [], ["other"]])
    def test_server_is_not_asked_unless_django_allows_it(self, server, databases):
        server()  # without a version: to ask for it would be an error

        assert found(checks.check_server, databases=databases) == []

    @pytest.mark.django_db
    def test_server_is_asked_when_migrate_checks_the_database(self, monkeypatch):
        asked = []
        monkeypatch.setattr(registry, "registered_checks", {checks.check_server})
        monkeypatch.setattr(router, "db_for_write", lambda model: asked.append(model) or "default")

        assert run_checks(tags=[Tags.database], databases=["default"]) == []
        assert asked == [OutboxEvent]


class SendersTests:
    def test_on_the_outboxs_database_are_fine(self, registrations):
        track_on(Signal(), sender=[Cart, "shop.Product"])(lambda sender, **kwargs: None)

        assert len(registrations) == 1
        assert found(checks.check_senders) == []

    @pytest.mark.parametrize("sender", [Cart, "shop.Cart", [Product, Cart]])
    def test_on_another_database_are_warned_of(self, settings, registrations, sender):
        settings.DATABASE_ROUTERS = [CartsElsewhere()]

        @track_on(Signal(), sender=sender)
        def cart_changed(sender, **kwargs):
            return None

        number, message, hint = one(checks.check_senders)
        assert number == "W004"
        assert "cart_changed listens to shop.Cart, which is not on the outbox's database 'default'" in message
        assert "a crash in between loses them" in hint

    def test_are_warned_of_where_the_outbox_is_the_one_elsewhere(self, settings, registrations):
        settings.DATABASE_ROUTERS = [OutboxElsewhere()]
        track_on(Signal(), sender=Cart)(lambda sender, **kwargs: None)

        assert "database 'other'" in one(checks.check_senders)[1]

    @pytest.mark.parametrize("name", ["shop.Basket", "nowhere.Cart", "Cart", "", "a.b.c"])
    def test_that_are_no_model_are_an_error(self, registrations, name):
        registrations.append(
            registration.Registration(self.test_that_are_no_model_are_an_error, (Signal(), post_save), (name,))
        )

        number, message, hint = one(checks.check_senders)
        assert number == "E006"
        assert f"names {name!r}, which is not a model" in message
        assert "app_label.Model" in hint

    @pytest.mark.parametrize("sender", [None, object(), object, len, "checkout", "a.b"])
    def test_of_the_projects_own_signals_may_be_anything(self, settings, registrations, sender):
        settings.DATABASE_ROUTERS = [CartsElsewhere()]
        track_on(Signal(), sender=sender)(lambda sender, **kwargs: None)

        assert found(checks.check_senders) == []

    @pytest.mark.parametrize(
        ("signals", "missed"),
        [
            ([post_save], "shop.Book, shop.Special"),
            ([post_save, post_delete], "shop.Book, shop.Special"),
            ([post_delete], "shop.Special"),
        ],
        ids=["save", "both", "delete"],
    )
    @isolate_apps("tests.shop")
    def test_child_models_whose_saves_are_missed_are_warned_of(self, registrations, signals, missed):
        class Article(models.Model):
            class Meta:
                app_label = "shop"

        class Book(Article):
            class Meta:
                app_label = "shop"

        class Special(Article):
            class Meta:
                app_label = "shop"
                proxy = True

        def saved(sender, **kwargs):
            return None

        registrations.append(registration.Registration(saved, tuple(signals), (Article,)))

        number, message, hint = one(checks.check_senders)
        assert number == "W009"
        assert message.endswith(f"saved listens to shop.Article, but not to what is saved as {missed}.")
        assert "name each in sender" in hint

        registrations.append(registration.Registration(saved, tuple(signals), (Book, Special)))
        assert found(checks.check_senders) == []

    @isolate_apps("tests.shop")
    def test_child_models_of_what_a_signal_of_the_projects_own_sends_are_not(self, registrations):
        class Article(models.Model):
            class Meta:
                app_label = "shop"

        class Book(Article):
            class Meta:
                app_label = "shop"

        track_on(Signal(), sender=Article)(lambda sender, **kwargs: None)

        assert found(checks.check_senders) == []

    def test_are_those_of_real_signals_too(self, settings, registrations):
        settings.DATABASE_ROUTERS = [CartsElsewhere()]

        def saved(sender, **kwargs):
            return None

        track_on(post_save, sender=Cart, dispatch_uid="test_checks")(saved)
        try:
            assert one(checks.check_senders)[0] == "W004"
        finally:
            assert post_save.disconnect(sender=Cart, dispatch_uid="test_checks")


def test_the_suite_itself_runs_on_a_database_that_the_check_likes():
    assert list(checks.check_databases(None, databases=list(connections))) == []
