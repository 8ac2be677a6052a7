"""Ctrl-C at any moment of a command, including its checks, never shows the key in a frame."""

from __future__ import annotations

import io
import os
import sys
import traceback

import pytest
from django.core.management import CommandError, call_command, get_commands, load_command_class

import brevo_events
from brevo_events import conf, track
from tests.conftest import KEY

# A generator that is just being closed says so, and goes on.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ADA = "ada@example.com"
PACKAGE = os.path.dirname(brevo_events.__file__)
MOMENTS = 25  # of one command, evenly spread over its calls
HOLDERS = {("conf.py", "_look_up_key"), ("secrets.py", "__init__")}  # these make a secret of the key

COMMANDS = sorted(name for name, app in get_commands().items() if app == "brevo_events")
ARGUMENTS = {
    "brevo_events_doctor": [ADA, "--no-input"],
    "cancel_brevo_events": ["--status", "pending", "--no-input"],
    "erase_brevo_contact": [ADA, "--no-input", "--export", "-"],
    "resend_brevo_events": ["--status", "failed", "--no-input"],
}


class Interrupt(KeyboardInterrupt):
    pass


class InterruptTests:
    @pytest.mark.parametrize("name", COMMANDS)
    def test_ctrl_c_shows_the_key_in_no_frame(self, fake_brevo, name):
        calls, _ = interrupted(name, at=None)
        moments = range(1, calls + 1, max(1, calls // MOMENTS))
        errors = [error for at in moments if (error := interrupted(name, at)[1])]

        assert len(errors) > MOMENTS // 2
        assert {place for error in errors for place in holders_of_the_key(error)} <= HOLDERS


def interrupted(name, at):
    """Run a command, interrupted at a call of the package's own; return how many calls there were, and the error."""
    track("cart_updated", ADA)
    conf.settings.forget()
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            calls += 1
            if calls == at:
                sys.setprofile(None)
                raise Interrupt

    command = load_command_class("brevo_events", name)
    checked = {"skip_checks": False} if command.requires_system_checks else {}
    sys.setprofile(count)
    try:
        call_command(command, *ARGUMENTS.get(name, []), **checked, stdout=io.StringIO(), stderr=io.StringIO())
    except Interrupt as error:
        return calls, error
    except (CommandError, SystemExit):
        pass
    finally:
        sys.setprofile(None)
    return calls, None


def holders_of_the_key(error):
    while error is not None:
        for frame, _line in traceback.walk_tb(error.__traceback__):
            name = frame.f_code.co_filename
            if name.startswith(PACKAGE) and any(KEY in shown(value) for value in list(frame.f_locals.values())):
                yield name.removeprefix(PACKAGE).lstrip(os.sep), frame.f_code.co_name
        error = error.__cause__ or error.__context__


def shown(value):
    try:
        return repr(value)
    except AttributeError:  # interrupted before it was whole
        return ""
