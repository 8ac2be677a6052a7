"""Tests of the README and the documentation: snippets, commands, links, and the reference pages."""

from __future__ import annotations

import builtins
import json
import re
import shlex
import subprocess
import sys
import unittest
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, get_commands, load_command_class
from django.db import connection
from django.db.models import signals as model_signals
from django.dispatch import Signal
from django.test import override_settings

import brevo_events
from brevo_events import checks, commerce, exceptions, registration, secrets, signals, testing, track
from brevo_events.conf import settings as app_settings
from brevo_events.models import OutboxEvent
from tests.shop import models
from tests.snippets import DOCS, MAKE_TARGETS, PAGES, REFERENCE, ROOT, snippets

LANGUAGES = {"python", "sh", "text", "json", "sql", "ini", "yaml", "mermaid"}
TUTORIALS = ("start.md", "abandoned-cart.md")  # run as a whole, in test_tutorials.py
OTHERS_COMMANDS = {"import_carts", "db_worker", "prune_db_task_results"}
SITE = "https://django-brevo-events.readthedocs.io/en/latest/"


def all_snippets(*languages):
    return [pytest.param(each, id=str(each)) for page in PAGES for each in snippets(page, *languages)]


def pages_with(*languages):
    return [
        pytest.param(page, id=str(page.relative_to(ROOT)))
        for page in PAGES
        if page.name not in TUTORIALS and snippets(page, *languages)
    ]


class LanguageTests:
    @pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
    def test_every_snippet_has_a_language_that_is_tried(self, page):
        found = {each.language for each in snippets(page) if not each.language.startswith("{")}

        assert found <= LANGUAGES


@pytest.fixture
def shop(monkeypatch, db):
    """The modules of a shop that snippets import from, and no receiver left behind."""
    cart = models.Cart.objects.create(email="ada@example.com")
    models.Line.objects.create(cart=cart, product=models.Product.objects.create(name="Wrist watch", price=50))
    monkeypatch.setattr(models.Cart, "vouchers", models.Cart.tags, raising=False)
    contents = {
        "models": {"Cart": models.Cart, "CartLine": models.Line, "Customer": User},
        "signals": {name: Signal() for name in ("order_placed", "cart_changes_owner", "cart_lost_line")},
        "carts": {"add_to_cart": add_to_cart, "check_out": check_out},
        "consent": {"has_agreed": lambda event: True},
    }
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    for name, content in contents.items():
        put_module(monkeypatch, f"shop.{name}", content)
    heard = [each for source in (model_signals, signals) for each in vars(source).values() if isinstance(each, Signal)]
    before = [list(each.receivers) for each in heard]
    registered = list(registration.registrations)
    yield contents
    registration.registrations[:] = registered
    for each, receivers in zip(heard, before, strict=True):
        each.receivers = receivers
        each.sender_receivers_cache.clear()


def put_module(monkeypatch, name, content):
    module = ModuleType(name)
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)


def add_to_cart(email, name, price):
    item = commerce.Item(name=name, price=price)
    track(commerce.cart_updated(email, cart_id=1, currency="EUR", items=[item], delay=60))


def check_out(email):
    track(commerce.order_completed(email, cart_id=1, order_id="1001", currency="EUR", items=[]))


def run_settings(snippet):
    """Load a snippet of settings, and let the system checks look at them."""
    namespace = {"env": __import__("environ").Env(), "INSTALLED_APPS": [], "DATABASES": {"default": {}}}
    exec(compile(snippet.text, str(snippet), "exec"), namespace)
    if "BREVO_EVENTS" in namespace:
        with override_settings(BREVO_EVENTS=namespace["BREVO_EVENTS"]):
            assert [problem for problem in checks.check_settings(None) if problem.is_serious()] == []


def run_tests_of(namespace, request):
    """Run what a snippet has defined for a test runner, and take it out."""
    for name, found in list(namespace.items()):
        if isinstance(found, type) and issubclass(found, unittest.TestCase) and found.__module__ == "snippet":
            result = unittest.TestResult()
            unittest.defaultTestLoader.loadTestsFromTestCase(found).run(result)
            assert result.testsRun
            assert result.errors + result.failures == []
            del namespace[name]
        elif name.startswith("test_") and callable(found):
            taken = found.__wrapped__ if hasattr(found, "__wrapped__") else found
            names = taken.__code__.co_varnames[: taken.__code__.co_argcount]
            found(**{each: request.getfixturevalue(each) for each in names})
            del namespace[name]


class PythonTests:
    @pytest.mark.parametrize("page", pages_with("python"))
    @pytest.mark.django_db(transaction=True)
    def test_every_snippet_of_a_page_runs(self, page, shop, request, monkeypatch):
        given = {name: value for content in shop.values() for name, value in content.items()}
        namespace = {"__name__": "snippet", "import_carts": lambda: None, **given}
        for snippet in snippets(page, "python"):
            code = compile(snippet.text, str(snippet), "exec")
            if snippet.mark == "compile":
                continue
            if snippet.file == "settings.py":
                run_settings(snippet)
                continue
            OutboxEvent.objects.all().delete()
            exec(code, namespace)
            run_tests_of(namespace, request)
            if snippet.file:
                module = snippet.file.removesuffix(".py").replace("/", ".")
                own = {name: value for name, value in namespace.items() if name not in vars(builtins)}
                put_module(monkeypatch, module, {**own, "__name__": module})


class CommandTests:
    @pytest.mark.parametrize("snippet", all_snippets("sh"))
    def test_shell_snippets_are_well_formed(self, snippet):
        checked = subprocess.run(["bash", "-n"], input=snippet.text, text=True, capture_output=True)

        assert checked.stderr == ""

    @pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
    def test_every_command_exists_and_takes_these_arguments(self, page):
        known = get_commands()
        for name, rest in re.findall(r"manage\.py (\w+)([^\n`|&]*)", page.read_text()):
            if name in OTHERS_COMMANDS:
                continue
            assert name in known
            if known[name] == "brevo_events":
                arguments = [each for each in shlex.split(rest.strip().rstrip(".,;:)")) if each]
                arguments = [] if any(each.startswith("[") for each in arguments) else arguments
                try:
                    load_command_class("brevo_events", name).create_parser("manage.py", name).parse_args(arguments)
                except CommandError as error:
                    pytest.fail(f"{name} {rest}: {error}")

    def test_every_make_target_exists(self):
        named = {
            target
            for page in PAGES
            for line in re.findall(r"(?:^|`)make ([a-z -]+)(?:$|`)", page.read_text(), re.MULTILINE)
            for target in line.split()
        }

        assert named <= MAKE_TARGETS


class DataTests:
    @pytest.mark.parametrize("snippet", all_snippets("json"))
    def test_json_can_be_parsed(self, snippet):
        assert json.loads(snippet.text)

    @pytest.mark.django_db
    @pytest.mark.parametrize("snippet", all_snippets("sql"))
    def test_sql_can_be_run(self, snippet):
        if snippet.mark and snippet.mark != f"only {connection.vendor}":
            pytest.skip(snippet.mark)
        with connection.cursor() as cursor:
            cursor.execute(snippet.text)


def documented(pattern):
    """Return how often the reference pages define each thing that a pattern finds."""
    return Counter(found for page in REFERENCE for found in re.findall(pattern, page.read_text(), re.MULTILINE))


def assert_each_once(found, expected):
    assert expected - set(found) == set(), "not on a reference page"
    assert set(found) - expected == set(), "on a reference page, but not there"
    assert [name for name, count in found.items() if count > 1] == []


class ReferenceTests:
    def test_every_setting_is_on_one_page(self):
        keys = {*app_settings.options(), *secrets.HEADERS}

        found = documented(r"^\| `([A-Z_]+)` \| .+ \| .+ \|$")

        assert_each_once(found, keys)

    def test_every_command_is_on_one_page(self):
        ours = {name for name, app in get_commands().items() if app == "brevo_events"}

        found = documented(r"^## (\w*brevo_\w+)$")

        assert_each_once(found, ours)

    def test_every_signal_is_on_one_page(self):
        ours = {name for name, value in vars(signals).items() if isinstance(value, Signal)}

        assert_each_once(documented(r"^\| `((?:event|gate)_\w+)` \|"), ours)

    def test_every_system_check_is_on_one_page(self):
        sources = [Path(brevo_events.__file__).parent / "checks.py"]
        sources += (Path(brevo_events.__file__).parent / "contrib").glob("*.py")
        ours = {
            number
            for source in sources
            for number in re.findall(r'"(?:brevo_events\.)?([EW]\d{3})"', source.read_text())
        }

        assert_each_once(documented(r"^\| `brevo_events\.([EW]\d{3})` \|"), ours)

    def test_every_public_name_is_on_one_page(self):
        ours = {f"brevo_events.{name}" for name in brevo_events.__all__}
        ours |= {f"brevo_events.testing.{name}" for name in testing.__all__}
        ours |= {f"brevo_events.commerce.{name}" for name in commerce.__all__}
        ours |= {f"brevo_events.exceptions.{name}" for name, value in vars(exceptions).items() if is_our_error(value)}
        ours |= {f"brevo_events.models.{name}" for name in ("OutboxEvent", "SendAttempt", "Gate")}
        ours |= {"brevo_events.engines.finish", "brevo_events.contrib.asgi.finish_on_shutdown"}
        found = documented(r"^\.\. auto(?:function|class|exception|decorator|module):: (\S+)$")

        assert_each_once(found, ours)
        assert documented(r"^\| `(Status|Reason)` \|") == {"Status": 1, "Reason": 1}


def is_our_error(value):
    return isinstance(value, type) and issubclass(value, exceptions.BrevoEventsError)


class PromiseTests:
    def test_every_guarantee_names_a_test_that_is_there(self):
        rows = re.findall(r"^\| \*\*.*$", (DOCS / "guarantees.md").read_text(), re.MULTILINE)

        assert rows
        for row in rows:
            named = re.findall(r"`((?:\w+/)?test_\w+\.py)`((?:,? `\w+Tests`)+)", row)
            assert named, row
            for file, classes in named:
                source = "".join(found.read_text() for found in (ROOT / "tests").glob(f"**/{file}"))
                for each in re.findall(r"\w+Tests", classes):
                    assert f"class {each}" in source, f"{file} {each}"


class LinkTests:
    def test_links_to_the_site_lead_to_pages_and_headings(self):
        for page in [*PAGES, *ROOT.glob(".github/**/*.yml")]:
            for name, anchor in re.findall(re.escape(SITE) + r"([\w/-]+)\.html(?:#([\w-]+))?", page.read_text()):
                target = DOCS / f"{name}.md"
                assert target.exists(), f"{page.name}: {name}"
                headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
                assert not anchor or anchor in [slug(heading) for heading in headings], f"{page.name}: #{anchor}"


def slug(heading):
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")
