"""What the tests of the doctor and of its page have in common."""

from __future__ import annotations

from tests.conftest import KEY

# Nor are four letters of this one hexadecimal.
API_KEY = "xkeysib-" + KEY[::-1]
HERE = ["settings", "migrations", "key", "engine", "gate"]
THERE = ["connection", "clock", "identify", "event", "account", "automation", "account_key", "contact"]
IN_BREVO = ["ecommerce_app", "trigger", "exit", "re_entry"]


def configure(settings, **more):
    settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, **more}


def paths(brevo):
    return [request.path.partition("/v")[2] for request in brevo.requests]
