from __future__ import annotations

import copy
import logging
import pickle
import traceback
from datetime import timedelta
from types import MappingProxyType

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from brevo_events import conf
from brevo_events.conf import settings as app_settings
from brevo_events.endpoints import is_loopback
from brevo_events.exceptions import BrevoEventsError, InvalidSetting
from brevo_events.secrets import Secret
from tests.conftest import KEY


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Give a function that sets environment variables; none of ours is set before."""
    for name in (
        "BREVO_MA_KEY",
        "BREVO_EVENTS_MA_KEY",
        "BREVO_EVENTS_API_KEY",
        *(f"BREVO_EVENTS_{key}" for key in app_settings.options()),
    ):
        monkeypatch.delenv(name, raising=False)

    def give(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        app_settings.forget()

    app_settings.forget()
    yield give
    app_settings.forget()


def refusal(read):
    with pytest.raises(InvalidSetting) as caught:
        read()
    return caught.value


def refused(key):
    return str(refusal(lambda: getattr(app_settings, key)))


class DefaultsTests:
    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("URL", "https://in-automate.brevo.com/api/v2/trackEvent"),
            ("POLL_SECONDS", 0.1),
            ("ENABLED", True),
            ("TIMEOUT", 10),
            ("CONCURRENCY", 16),
            ("MAX_ATTEMPTS", 12),
            ("RETRY_BACKOFF", 30),
            ("EXPIRES", None),
            ("CONSENT", None),
            ("RETENTION_DAYS", 30),
            ("FAILED_RETENTION_DAYS", 90),
            ("OVERRIDE_EMAIL", None),
        ],
    )
    def test_are_the_documented_ones(self, key, value):
        assert getattr(app_settings, key) == value

    def test_under_test_keep_everything_in_memory_and_raise(self):
        assert (app_settings.TRANSPORT, app_settings.ENGINE, app_settings.RAISE_ERRORS) == ("locmem", "inline", True)

    @pytest.mark.parametrize("debug", [True, False])
    def test_elsewhere_send_for_real_and_raise_in_debug_only(self, monkeypatch, settings, debug):
        monkeypatch.setattr(conf, "is_testing", lambda: False)
        settings.DEBUG = debug

        found = (app_settings.TRANSPORT, app_settings.ENGINE, app_settings.RAISE_ERRORS)
        assert found == ("http", "thread", debug)

    def test_cut_an_attempt_off_at_twice_the_timeout(self, settings):
        settings.BREVO_EVENTS = {"TIMEOUT": 3}

        assert app_settings.attempt_deadline == 6

    def test_cannot_be_read_under_a_name_that_does_not_exist(self):
        with pytest.raises(AttributeError):
            _ = app_settings.TIME_OUT

    def test_have_no_key_among_the_options_that_may_be_printed(self):
        assert "MA_KEY" not in app_settings.options()
        assert {"URL", "TRANSPORT", "ENGINE", "ENABLED"} <= set(app_settings.options())


class SourcesTests:
    def test_the_dict_goes_before_the_environment(self, settings, environment):
        environment(BREVO_EVENTS_CONCURRENCY="4", BREVO_EVENTS_MAX_ATTEMPTS="5")
        settings.BREVO_EVENTS = {"CONCURRENCY": 3}

        assert (app_settings.CONCURRENCY, app_settings.MAX_ATTEMPTS) == (3, 5)

    @pytest.mark.parametrize(
        ("key", "text", "value"),
        [
            ("URL", "https://example.com/", "https://example.com/"),
            ("TRANSPORT", "console", "console"),
            ("CONCURRENCY", "4", 4),
            ("TIMEOUT", "2.5", 2.5),
            ("TIMEOUT", "2", 2.0),
            ("ENABLED", "on", True),
            ("ENABLED", "True", True),
            ("ENABLED", "1", True),
            ("ENABLED", "off", False),
            ("ENABLED", "False", False),
            ("ENABLED", " no ", False),
            ("ENABLED", "0", False),
            ("EXPIRES", "3600", 3600.0),
            ("EXPIRES", "0.5", 0.5),
            ("EXPIRES", " 1e3 ", 1000.0),
            ("CONSENT", "shop.consent.is_given", "shop.consent.is_given"),
            ("RETENTION_DAYS", "7", 7.0),
            ("FAILED_RETENTION_DAYS", "0.5", 0.5),
            ("OVERRIDE_EMAIL", "staging@example.org", "staging@example.org"),
            ("OVERRIDE_EMAIL", "", ""),
        ],
    )
    def test_the_environment_is_typed(self, environment, key, text, value):
        environment(**{f"BREVO_EVENTS_{key}": text})

        assert getattr(app_settings, key) == value
        assert type(getattr(app_settings, key)) is type(value)

    @pytest.mark.parametrize(
        ("key", "text", "kind"),
        [
            ("CONCURRENCY", "many", "int"),
            ("CONCURRENCY", "1.5", "int"),
            ("CONCURRENCY", "", "int"),
            ("TIMEOUT", "soon", "float"),
            ("ENABLED", "ture", "bool"),
            ("ENABLED", "", "bool"),
            ("EXPIRES", "soon", "float"),
            ("EXPIRES", "", "float"),
            ("EXPIRES", '{"a": 5}', "float"),
            ("EXPIRES", "1h", "float"),
            ("TIMEOUT", "5 minutes", "float"),
            ("TIMEOUT", "2,5", "float"),
            ("RETENTION_DAYS", "a month", "float"),
            ("FAILED_RETENTION_DAYS", "", "float"),
        ],
    )
    def test_a_wrong_type_in_the_environment_names_the_variable(self, environment, key, text, kind):
        environment(**{f"BREVO_EVENTS_{key}": text})

        assert refused(key) == f"BREVO_EVENTS_{key} is {text!r}: it must be of type {kind}."

    def test_a_value_from_the_environment_is_checked_as_one_from_the_dict(self, environment):
        environment(
            BREVO_EVENTS_CONCURRENCY="0",
            BREVO_EVENTS_URL="http://example.com",
            BREVO_EVENTS_EXPIRES="0",
            BREVO_EVENTS_RETENTION_DAYS="-1",
            BREVO_EVENTS_OVERRIDE_EMAIL="staging",
        )

        assert "must be from 1 to 256" in refused("CONCURRENCY")
        assert "https://" in refused("URL")
        assert "from more than 0 to 366 days" in refused("EXPIRES")
        assert "must be from 0 to 36500" in refused("RETENTION_DAYS")
        assert "must be one e-mail address" in refused("OVERRIDE_EMAIL")

    def test_override_settings_works_and_ends(self):
        before = app_settings.CONCURRENCY
        with override_settings(BREVO_EVENTS={"CONCURRENCY": 2}):
            within = app_settings.CONCURRENCY
            with override_settings(BREVO_EVENTS={"CONCURRENCY": 1}):
                innermost = app_settings.CONCURRENCY
            after_inner = app_settings.CONCURRENCY

        assert (before, within, innermost, after_inner, app_settings.CONCURRENCY) == (16, 2, 1, 2, 16)

    def test_a_key_is_forgotten_with_the_rest(self, settings):
        settings.BREVO_EVENTS = {"MA_KEY": KEY}
        first = app_settings.ma_key()
        settings.BREVO_EVENTS = {"MA_KEY": "other"}

        assert (first.reveal(), app_settings.ma_key().reveal()) == (KEY, "other")

    def test_another_setting_forgets_nothing(self, settings, monkeypatch):
        assert app_settings.CONCURRENCY == 16
        monkeypatch.setenv("BREVO_EVENTS_CONCURRENCY", "4")
        settings.LANGUAGE_CODE = "fr"

        assert app_settings.CONCURRENCY == 16

    @pytest.mark.parametrize("given", [None, "MA_KEY", ["MA_KEY"], {"MA_KEY"}])
    def test_anything_but_a_dict_is_refused(self, settings, given):
        settings.BREVO_EVENTS = given

        assert refused("URL") == f"BREVO_EVENTS must be a dict, not {type(given).__name__}."


class ValuesTests:
    @pytest.mark.parametrize(
        ("key", "value", "kind"),
        [
            ("URL", None, "str"),
            ("URL", b"https://example.com", "str"),
            ("TRANSPORT", object, "str"),
            ("ENGINE", 1, "str"),
            ("ENABLED", 1, "bool"),
            ("ENABLED", "True", "bool"),
            ("ENABLED", None, "bool"),
            ("RAISE_ERRORS", "", "bool"),
            ("TIMEOUT", "10", "float"),
            ("TIMEOUT", True, "float"),
            ("CONCURRENCY", 1.0, "int"),
            ("CONCURRENCY", True, "int"),
            ("MAX_ATTEMPTS", "3", "int"),
            ("RETRY_BACKOFF", None, "float"),
            ("EXPIRES", "3600", "int or float or timedelta or Mapping"),
            ("EXPIRES", True, "int or float or timedelta or Mapping"),
            ("EXPIRES", [3600], "int or float or timedelta or Mapping"),
            ("CONSENT", 5, "str or Callable"),
            ("CONSENT", True, "str or Callable"),
            ("CONSENT", ["shop.consent.is_given"], "str or Callable"),
            ("RETENTION_DAYS", None, "float"),
            ("RETENTION_DAYS", timedelta(days=30), "float"),
            ("FAILED_RETENTION_DAYS", "90", "float"),
            ("OVERRIDE_EMAIL", 5, "str"),
            ("OVERRIDE_EMAIL", ["staging@example.org"], "str"),
        ],
    )
    def test_of_the_wrong_type_are_refused(self, settings, key, value, kind):
        settings.BREVO_EVENTS = {key: value}

        assert refused(key) == f"BREVO_EVENTS[{key!r}] is {value!r}: it must be of type {kind}."

    @pytest.mark.parametrize(
        ("key", "allowed", "refused_values"),
        [
            ("TIMEOUT", [0.1, 1, 60], [0, 0.09, 60.1, -1, float("nan"), float("inf")]),
            ("POLL_SECONDS", [0.01, 0.1, 60], [0, 0.009, 61, -1, float("nan"), float("inf")]),
            ("CONCURRENCY", [1, 256], [0, 257, -1, 10**400]),
            ("MAX_ATTEMPTS", [1, 100], [0, 101]),
            ("RETRY_BACKOFF", [0, 0.5, 3600], [-0.1, 3601, float("nan")]),
            ("RETENTION_DAYS", [0, 0.5, 30, 36_500], [-1, 36_501, float("nan"), float("inf")]),
            ("FAILED_RETENTION_DAYS", [0, 0.5, 30, 36_500], [-1, 36_501, float("nan"), float("inf")]),
        ],
    )
    def test_are_kept_within_their_range(self, settings, key, allowed, refused_values):
        for value in allowed:
            settings.BREVO_EVENTS = {key: value}
            assert getattr(app_settings, key) == value
        for value in refused_values:
            settings.BREVO_EVENTS = {key: value}
            assert "must be from" in refused(key)

    def test_given_as_int_are_read_as_float_where_that_is_the_type(self, settings):
        settings.BREVO_EVENTS = {"TIMEOUT": 3}

        assert type(app_settings.TIMEOUT) is float

    def test_are_refused_each_time_they_are_read_and_not_before(self, settings):
        settings.BREVO_EVENTS = {"CONCURRENCY": 0, "MAX_ATTEMPTS": 3}

        assert app_settings.MAX_ATTEMPTS == 3
        assert refused("CONCURRENCY") == refused("CONCURRENCY")

    def test_an_invalid_one_is_an_error_of_django_and_of_this_app(self):
        assert issubclass(InvalidSetting, ImproperlyConfigured)
        assert issubclass(InvalidSetting, BrevoEventsError)


class ExpiresTests:
    @pytest.mark.parametrize(
        ("given", "seconds"),
        [
            (None, None),
            (3600, 3600),
            (0.5, 0.5),
            (timedelta(hours=1), 3600),
            (366 * 24 * 3600, 366 * 24 * 3600),
            ({}, None),
            ({"viewed": 60}, 60),
            ({"viewed": timedelta(minutes=1), "left": 5}, 60),
            ({"Viewed": 60, "left": 5}, None),
            (MappingProxyType({"viewed": 60}), 60),
        ],
        ids=str,
    )
    def test_are_seconds_for_all_or_by_name(self, settings, given, seconds):
        settings.BREVO_EVENTS = {"EXPIRES": given}

        assert app_settings.expires_after("viewed") == seconds

    def test_of_the_environment_are_for_all(self, environment):
        environment(BREVO_EVENTS_EXPIRES="60")

        assert app_settings.expires_after("viewed") == 60

    @pytest.mark.parametrize(
        "span",
        [0, -1, timedelta(0), timedelta(days=367), 366 * 24 * 3600 + 1, float("nan"), float("inf"), 10**400],
        ids=lambda span: str(span)[:20],
    )
    @pytest.mark.parametrize("is_by_name", [False, True])
    def test_out_of_range_are_refused(self, settings, span, is_by_name):
        settings.BREVO_EVENTS = {"EXPIRES": {"left": 5, "viewed": span} if is_by_name else span}

        assert refused("EXPIRES").endswith(
            "it must be seconds or a timedelta, from more than 0 to 366 days, or a dict of those by event name."
        )

    @pytest.mark.parametrize("span", [None, True, "60", [60], {"a": 5}], ids=str)
    def test_of_another_type_within_the_dict_are_refused(self, settings, span):
        settings.BREVO_EVENTS = {"EXPIRES": {"viewed": span}}

        assert "or a dict of those by event name" in refused("EXPIRES")

    def test_that_are_wrong_raise_here_and_are_none_in_production(self, settings, monkeypatch, caplog):
        settings.BREVO_EVENTS = {"EXPIRES": 0}

        refusal(lambda: app_settings.expires_after("viewed"))
        monkeypatch.setattr(conf, "is_testing", lambda: False)

        assert app_settings.expires_after("viewed") is None
        assert "BREVO_EVENTS['EXPIRES'] is 0" in caplog.text

    def test_that_are_wrong_raise_in_debug(self, settings, monkeypatch):
        monkeypatch.setattr(conf, "is_testing", lambda: False)
        settings.DEBUG = True
        settings.BREVO_EVENTS = {"EXPIRES": 0}

        refusal(lambda: app_settings.expires_after("viewed"))


class ConsentTests:
    def test_is_nobodys_where_none_is_set(self):
        assert app_settings.consent() is None

    @pytest.mark.parametrize(
        "given",
        [len, lambda event: True, type("Asking", (), {"__call__": lambda self, event: True})()],
        ids=["builtin", "lambda", "object"],
    )
    def test_may_be_anything_that_can_be_called(self, settings, given):
        settings.BREVO_EVENTS = {"CONSENT": given}

        assert app_settings.consent() is given

    def test_may_be_a_dotted_path_in_the_dict_or_the_environment(self, settings, environment):
        environment(BREVO_EVENTS_CONSENT="tests.unit.test_conf.refused")
        from_environment = app_settings.consent()
        settings.BREVO_EVENTS = {"CONSENT": "tests.unit.test_conf.refusal"}

        assert (from_environment, app_settings.consent()) == (refused, refusal)

    @pytest.mark.parametrize(
        "path", ["", "nowhere", "nowhere.at_all", "tests.unit.test_conf.nothing", ".conf", "..conf"]
    )
    def test_that_cannot_be_imported_is_refused(self, settings, path):
        settings.BREVO_EVENTS = {"CONSENT": path}

        assert str(refusal(app_settings.consent)) == (f"BREVO_EVENTS['CONSENT'] is {path!r}, which cannot be imported.")

    def test_that_is_async_is_refused_since_it_would_always_say_yes(self, settings):
        async def refuse(event):
            return False

        settings.BREVO_EVENTS = {"CONSENT": refuse}

        assert "which is not a plain function" in str(refusal(app_settings.consent))

    def test_that_cannot_be_called_is_refused(self, settings):
        settings.BREVO_EVENTS = {"CONSENT": "tests.conftest.KEY"}

        error = refusal(app_settings.consent)
        assert str(error) == "BREVO_EVENTS['CONSENT'] is 'tests.conftest.KEY', which is not a plain function."
        assert KEY not in str(error)


class OverrideTests:
    @pytest.mark.parametrize("address", [None, "", "staging@example.org", "a@b", "josé@müller.de"])
    def test_may_be_one_address_or_none(self, settings, address):
        settings.BREVO_EVENTS = {"OVERRIDE_EMAIL": address}

        assert address == app_settings.OVERRIDE_EMAIL

    @pytest.mark.parametrize(
        "address", ["staging", " ", "a@", "@b", "a@b@c", "a@b, c@d", "Ada <a@b>", " a@b", "a@b\n", "a b@c"]
    )
    def test_may_be_nothing_else(self, settings, address):
        settings.BREVO_EVENTS = {"OVERRIDE_EMAIL": address}

        expected = f"BREVO_EVENTS['OVERRIDE_EMAIL'] is {address!r}: it must be one e-mail address."
        assert refused("OVERRIDE_EMAIL") == expected


class UrlTests:
    @pytest.mark.parametrize(
        "url",
        [
            "https://in-automate.brevo.com/api/v2/trackEvent",
            "HTTPS://proxy.example.com:8443/x?y=z",
            "https://localhost/",
            "http://localhost:8025/api",
            "http://LOCALHOST/",
            "http://127.0.0.1:8025/",
            "http://[::1]:8025/",
        ],
    )
    def test_may_be_https_or_on_loopback(self, settings, url):
        settings.BREVO_EVENTS = {"URL": url}

        assert url == app_settings.URL

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "/api/v2/trackEvent",
            "in-automate.brevo.com/api",
            "http://in-automate.brevo.com/api/v2/trackEvent",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
            "http://localhost@example.com/",
            "http://example.com\\@localhost/",
            "http://example.com#@localhost/",
            "http://127.0.0.2/",
            "http://0.0.0.0/",
            "http://10.0.0.1/",
            "ftp://localhost/",
            "https:///trackEvent",
            "https://",
            "https://[::1",
            "https://example.com:99999/",
            "https://example.com:port/",
            "https://exam ple.com/",
            "https://example.com/\n",
            "ht\ntp://example.com/",
            " https://example.com/",
        ],
    )
    def test_may_be_nothing_else(self, settings, url):
        settings.BREVO_EVENTS = {"URL": url}

        assert refused("URL").startswith(f"BREVO_EVENTS['URL'] is {url!r}: it must be")

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("https://ada@example.com/", "https://ada@example.com/"),
            ("https://ada:pass@example.com/", "https://ada:…@example.com/"),
            ("https://:pa:ss@example.com:8443/x", "https://:…@example.com:8443/x"),
            ("https://ada:p@ss@example.com/", "https://ada:…@example.com/"),
            ("http://ada:pass@127.0.0.1:8025/", "http://ada:…@127.0.0.1:8025/"),
            ("http://localhost:80@example.com/", "http://localhost:…@example.com/"),
        ],
    )
    def test_url_with_user_or_password_is_refused_and_the_password_not_shown(self, settings, url, shown):
        settings.BREVO_EVENTS = {"URL": url}

        assert refused("URL") == f"BREVO_EVENTS['URL'] is {shown!r}: it must be a URL without user and password."

    def test_is_loopback_by_its_host_only(self):
        assert is_loopback("http://user:pw@127.0.0.1:1/")
        assert not is_loopback("https://example.com/localhost")


class KeyTests:
    def test_is_empty_where_none_is_set(self):
        assert not app_settings.ma_key()
        assert app_settings.ma_key() == Secret("")

    @pytest.mark.parametrize(
        ("configured", "variables", "expected"),
        [
            ({"MA_KEY": "dict"}, {"BREVO_EVENTS_MA_KEY": "long", "BREVO_MA_KEY": "short"}, "dict"),
            ({}, {"BREVO_EVENTS_MA_KEY": "long", "BREVO_MA_KEY": "short"}, "long"),
            ({}, {"BREVO_MA_KEY": "short"}, "short"),
            ({"MA_KEY": ""}, {"BREVO_MA_KEY": "short"}, ""),
            ({}, {"BREVO_MA_KEY": "$OTHER"}, "$OTHER"),
        ],
    )
    def test_is_looked_up_in_the_dict_and_then_in_the_environment(
        self, settings, environment, configured, variables, expected
    ):
        environment(**variables)
        settings.BREVO_EVENTS = configured

        assert app_settings.ma_key().reveal() == expected

    def test_of_a_callable_is_asked_for_each_time(self, settings):
        keys = iter(["first", "second"])
        settings.BREVO_EVENTS = {"MA_KEY": lambda: next(keys)}

        assert app_settings.has_callable_key()
        assert [app_settings.ma_key().reveal(), app_settings.ma_key().reveal()] == ["first", "second"]

    @pytest.mark.parametrize(
        ("configured", "variables", "expected"),
        [
            ({}, {}, ""),
            ({"API_KEY": None}, {"BREVO_EVENTS_API_KEY": "long"}, ""),
            ({"API_KEY": "dict"}, {"BREVO_EVENTS_API_KEY": "long"}, "dict"),
            ({"API_KEY": lambda: "asked"}, {}, "asked"),
            ({}, {"BREVO_EVENTS_API_KEY": "long", "BREVO_MA_KEY": "other"}, "long"),
        ],
    )
    def test_of_api_v3_is_looked_up_likewise_and_is_for_a_header_of_its_own(
        self, settings, environment, configured, variables, expected
    ):
        environment(**variables)
        settings.BREVO_EVENTS = configured

        assert (app_settings.api_key().reveal(), app_settings.api_key().header) == (expected, "api-key")
        assert app_settings.ma_key().header == "ma-key"

    def test_of_api_v3_is_refused_unseen(self, settings):
        settings.BREVO_EVENTS = {"API_KEY": KEY + "\n"}

        assert str(refusal(app_settings.api_key)).startswith("BREVO_EVENTS['API_KEY'] has a character")

    def test_that_is_a_string_is_no_callable_one(self, settings):
        settings.BREVO_EVENTS = {"MA_KEY": KEY}

        assert not app_settings.has_callable_key()

    @pytest.mark.parametrize("is_callable", [True, False])
    @pytest.mark.parametrize(
        "bad", ["\n", "\r\n", "\0", "\x1f", "\x7f", " ", "\t", "\u00a0", "é", "ÿ", "–", "🔑", "\ud800"], ids=ascii
    )
    @pytest.mark.parametrize("template", ["{}" + KEY, KEY + "{}", "abc{}def"])
    def test_with_a_character_that_no_header_carries_is_refused_unseen(self, settings, template, bad, is_callable):
        key = template.format(bad)
        settings.BREVO_EVENTS = {"MA_KEY": (lambda: key) if is_callable else key}

        error = refusal(app_settings.ma_key)

        shown = "".join(traceback.format_exception(error)) + repr(error)
        assert "BREVO_EVENTS['MA_KEY'] has a character that a header cannot carry" in shown
        assert not any(part in shown for part in (KEY, "abc", repr(key)))

    @pytest.mark.parametrize("key", [None, 12345, b"bytes-key", ["list-key"], True])
    def test_of_another_type_is_refused_unseen(self, settings, key):
        settings.BREVO_EVENTS = {"MA_KEY": key}
        from_dict = refusal(app_settings.ma_key)
        settings.BREVO_EVENTS = {"MA_KEY": lambda: key}
        from_callable = refusal(app_settings.ma_key)

        assert str(from_dict) == "BREVO_EVENTS['MA_KEY'] must be a string, or a callable that returns one."
        assert str(from_callable) == str(from_dict)

    def test_is_not_shown_by_the_settings_that_hold_it(self, settings):
        settings.BREVO_EVENTS = {"MA_KEY": KEY, "URL": 1}
        app_settings.ma_key()

        shown = [repr(app_settings), repr(vars(app_settings)), repr(app_settings.ma_key()), refused("URL")]
        assert not any(KEY in text for text in shown)


class SecretTests:
    @pytest.mark.parametrize(
        "show",
        [repr, str, "{}".format, "{!r}".format, "%s".__mod__, ascii],
        ids=["repr", "str", "format", "format repr", "percent", "ascii"],
    )
    def test_does_not_show_itself(self, show):
        assert KEY not in show(Secret(KEY))

    def test_does_not_show_itself_within_other_things(self, caplog):
        logging.getLogger(__name__).warning("%s %r", Secret(KEY), {"key": [Secret(KEY)]})

        assert KEY not in caplog.text
        assert "Secret('…')" in caplog.text

    def test_has_no_dict_to_look_into(self):
        with pytest.raises(TypeError):
            vars(Secret(KEY))

    def test_tells_an_empty_key_from_one_that_is_set(self):
        assert bool(Secret(KEY))
        assert repr(Secret("")) == "Secret('')"

    def test_equals_the_same_key_only(self):
        assert Secret(KEY) == Secret(KEY)
        assert hash(Secret(KEY)) == hash(Secret(KEY))
        assert Secret(KEY) != Secret("other")
        assert Secret(KEY) != KEY

    def test_is_blotted_out_of_a_text(self):
        assert Secret(KEY).remove_from(f"bad key {KEY}, {KEY}!") == "bad key [ma-key], [ma-key]!"
        assert Secret("").remove_from("text") == "text"

    def test_has_no_problem_with_any_character_of_a_header(self):
        assert Secret("".join(map(chr, range(0x21, 0x7F)))).problem() == ""

    @pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickle.dumps, lambda secret: secret.__reduce_ex__(2)])
    def test_a_secret_is_neither_copied_nor_pickled(self, again):
        with pytest.raises(TypeError, match="neither copied nor pickled"):
            again(Secret(KEY))

    @pytest.mark.parametrize(
        ("text", "clean"),
        [
            ("", ""),
            (KEY[:3], KEY[:3]),
            (f"key {KEY[:4]}", "key [ma-key]"),
            (f"key {KEY[:-1]}", "key [ma-key]"),
            (f"{KEY}{KEY[:-1]}", "[ma-key][ma-key]"),
            (f"{KEY[:8]} is cut", f"{KEY[:8]} is cut"),
            (r"\u0067" + KEY[1:], "[ma-key]"),
            (r"\\\u0067" + KEY[1:], r"\\[ma-key]"),
            (KEY[:9] + r"\u00", "[ma-key]"),
            (KEY[:9] + "\\", "[ma-key]"),
            (r"\u0022\u005c\u00e9\\u0062", r"\u0022\u005c\u00e9\\u0062"),
        ],
    )
    def test_an_escaped_or_cut_key_is_blotted_out(self, text, clean):
        assert Secret(KEY).remove_from(text) == clean

    def test_a_key_with_a_slash_is_blotted_out_as_php_escapes_it(self):
        assert Secret("ab/cd/ef").remove_from(r'{"key": "ab\/cd\/ef"}') == '{"key": "[ma-key]"}'


class TestingTests:
    def test_is_seen_by_the_mark_that_django_leaves(self, monkeypatch):
        assert conf.is_testing()
        monkeypatch.delattr("django.test.utils._TestState.saved_data")

        assert not conf.is_testing()

    def test_is_not_seen_in_what_the_locmem_email_backend_leaves_behind(self, monkeypatch):
        monkeypatch.delattr("django.test.utils._TestState.saved_data")
        monkeypatch.setattr("django.core.mail.outbox", [], raising=False)

        assert not conf.is_testing()

    def test_debug_is_read_from_the_project(self, settings):
        settings.DEBUG = True
        assert conf.is_debug()
        settings.DEBUG = False
        assert not conf.is_debug()
