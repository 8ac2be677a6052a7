from __future__ import annotations

import errno
import io
import json
import os
import stat
import sys
from contextlib import suppress

import pytest
from django.core.management import CommandError, call_command

from brevo_events import privacy, querysets, retention, track, track_many
from brevo_events.choices import Reason
from brevo_events.clock import in_seconds
from brevo_events.delivery import deliver
from brevo_events.events import Event
from brevo_events.models import OutboxEvent, SendAttempt, Status
from brevo_events.testing import Reply
from tests.commands import Terminal, run, shown_by

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("by_hand")]

ADA, BOB = "ada@example.com", "bob@example.com"
DAY = 24 * 3600


@pytest.fixture
def asked(monkeypatch):
    """Somebody at a terminal who answers yes; the questions are kept."""
    questions = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question="": questions.append(question) or "y")
    return questions


def ended(status=Status.SENT, *, days, **more):
    event = track("viewed", ADA)
    values = {"status": status, "due_at": None, "finished_at": in_seconds(-days * DAY), **more}
    OutboxEvent.objects.filter(pk=event.pk).update(**values)
    return event


def remaining():
    return list(OutboxEvent.objects.exclude(contact="").order_by("pk"))


class PruneTests:
    def test_deletes_what_is_old_and_counts_it(self):
        ended(days=31)
        ended(Status.FAILED, days=91)
        ended(Status.CANCELLED, reason=Reason.SUPERSEDED, days=31)
        young = [ended(days=29), ended(Status.FAILED, days=89), track("viewed", BOB)]

        assert run("prune_brevo_events") == "Deleted: 3.\n"

        assert remaining() == young

    def test_takes_ages_as_arguments(self):
        ended(days=1)
        ended(Status.FAILED, days=3)
        young = [ended(days=0.2), ended(Status.FAILED, days=1)]

        assert run("prune_brevo_events", "--days", "0.5", "--failed-days=2") == "Deleted: 2.\n"

        assert remaining() == young

    def test_takes_an_age_of_none(self):
        ended(days=0.001)
        waiting = track("viewed", ADA)

        assert run("prune_brevo_events", "--days", "0", "--failed-days", "0") == "Deleted: 1.\n"

        assert remaining() == [waiting]

    def test_takes_the_ages_of_the_settings(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker", "RETENTION_DAYS": 2, "FAILED_RETENTION_DAYS": 4}
        ended(days=3)
        ended(Status.FAILED, days=5)
        ended(Status.FAILED, days=3)

        assert run("prune_brevo_events") == "Deleted: 2.\n"

    def test_dry_run_says_what_would_happen_and_changes_nothing(self):
        for days in (29, 31, 32):
            ended(days=days)

        assert run("prune_brevo_events", "--dry-run") == "Would be deleted: 2.\n"
        assert run("prune_brevo_events", "--dry-run", "--days", "1") == "Would be deleted: 3.\n"
        assert len(remaining()) == 3

    def test_says_that_there_was_nothing(self):
        assert run("prune_brevo_events") == "Deleted: 0.\n"

    @pytest.mark.parametrize("name", ["--days", "--failed-days"])
    @pytest.mark.parametrize("value", ["-1", "many", "", "nan", "inf", "1e9", "36501"])
    def test_refuses_an_age_that_is_none(self, name, value):
        ended(days=31)

        with pytest.raises(CommandError, match="is not a number of days from 0 to 36500"):
            run("prune_brevo_events", f"{name}={value}")

        assert len(remaining()) == 1

    def test_tells_which_setting_is_wrong(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker", "RETENTION_DAYS": "soon"}
        ended(days=31)

        with pytest.raises(CommandError, match="'RETENTION_DAYS'] is 'soon'"):
            run("prune_brevo_events")

        assert len(remaining()) == 1


class EraseTests:
    def test_erases_one_contact_and_counts_the_events(self):
        track("viewed", ADA)
        track("viewed", "Ada@Example.com")
        other = track("viewed", BOB)

        assert run("erase_brevo_contact", "ADA@example.com", "--no-input") == "Erased: 2.\n"

        assert remaining() == [other]

    def test_says_that_nothing_is_kept(self):
        other = track("viewed", BOB)

        assert run("erase_brevo_contact", ADA) == "Nothing is kept of this contact.\n"
        assert remaining() == [other]

    @pytest.mark.parametrize("given", ["ada", "Ada <ada@example.com>", "ada@example.com, bob@example.com"])
    def test_takes_one_address_and_nothing_that_only_looks_like_it(self, given):
        with pytest.raises(CommandError, match="is not an e-mail address like"):
            run("erase_brevo_contact", given)

    def test_prints_no_address(self, asked):
        track("viewed", ADA)

        assert "ada" not in run("erase_brevo_contact", ADA) + "".join(asked)

    def test_asks_on_a_terminal(self, asked):
        track("viewed", ADA)

        assert run("erase_brevo_contact", ADA) == "Erased: 1.\n"
        assert asked == ["Erase 1 event for good? [y/N] "]

    @pytest.mark.parametrize("answer", ["", "n", "yep", EOFError])
    def test_erases_nothing_without_a_yes(self, asked, monkeypatch, tmp_path, answer):
        def say(question=""):
            if answer is EOFError:
                raise EOFError
            return answer

        monkeypatch.setattr("builtins.input", say)
        event = track("viewed", ADA)

        with pytest.raises(CommandError, match=r"Nothing was erased\."):
            run("erase_brevo_contact", ADA, "--export", str(tmp_path / "ada.json"))

        assert remaining() == [event]
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("email", "options"),
        [(ADA, ["--no-input"]), (ADA, ["--dry-run"]), (ADA, ["--export", "-", "--keep"]), (BOB, [])],
        ids=str,
    )
    def test_does_not_ask_for_no_reason(self, asked, email, options):
        track("viewed", ADA)

        run("erase_brevo_contact", email, *options)

        assert asked == []

    def test_refuses_where_nobody_can_be_asked(self, monkeypatch):
        monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
        event = track("viewed", ADA)

        with pytest.raises(CommandError, match=r"No terminal to confirm on\. Use --no-input"):
            run("erase_brevo_contact", ADA)

        assert remaining() == [event]

    def test_dry_run_says_what_would_happen_and_changes_nothing(self, tmp_path):
        track("viewed", ADA)
        path = tmp_path / "ada.json"

        assert run("erase_brevo_contact", ADA, "--dry-run", "--export", str(path)) == "Would be erased: 1.\n"
        assert run("erase_brevo_contact", ADA, "--dry-run", "--export", str(path), "--keep") == "Would be erased: 0.\n"
        assert not path.exists()
        assert len(remaining()) == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "required: EMAIL"),
            ([""], "EMAIL: '' is not an e-mail address"),
            (["ada"], "EMAIL: 'ada' is not an e-mail address"),
            (["a\0@example.com"], "is not an e-mail address"),
            ([ADA, "--keep"], "--keep is for --export FILE"),
            ([ADA, "--export"], "--export: expected one argument"),
            ([ADA, "--export", ""], "--export: '' is empty"),
            ([ADA, "--export", " "], "--export: ' ' is empty"),
            ([ADA, "--export", "", "--keep"], "--export: '' is empty"),
            ([ADA, "--export", "a\0b"], "has a character that no event can have"),
            ([ADA, "--keep", "--dry-run"], "--keep is for --export FILE"),
        ],
        ids=repr,
    )
    def test_tells_clearly_what_is_wrong(self, arguments, message):
        event = track("viewed", ADA)

        with pytest.raises(CommandError) as raised:
            run("erase_brevo_contact", "--no-input", *arguments)

        assert message in str(raised.value)
        assert remaining() == [event]


class ExportTests:
    @pytest.fixture(autouse=True)
    def _kept(self, fake_brevo):
        fake_brevo.when(lambda body: body["email"] == ADA, Reply.error(400, "invalid_parameter", "no ünicode"))
        track("viewed", ADA, object_id="cart:1", data={"name": "Ärmelkanal", "total": 9.5})
        track("viewed", BOB)
        deliver()
        track("bought", ADA, delay=60)

    def test_writes_a_file_and_then_erases(self, tmp_path):
        path = tmp_path / "ada.json"

        told = run("erase_brevo_contact", ADA, "--no-input", "--export", str(path))

        assert told == f"Written: {path}.\nErased: 2.\n"
        first, second = json.loads(path.read_text(encoding="utf-8"))
        assert first["email"] == second["email"] == ADA
        assert first["body"]["eventdata"]["data"] == {"name": "Ärmelkanal", "total": 9.5}
        assert [attempt["response_code"] for attempt in first["send_attempts"]] == [400]
        assert (first["attempts"], second["attempts"], second["send_attempts"]) == (1, 0, [])
        assert "no ünicode" in json.loads(first["send_attempts"][0]["answer"])["message"]
        assert "Ärmelkanal" in path.read_text(encoding="utf-8")
        assert "bob" not in path.read_text(encoding="utf-8")
        assert [event.email for event in remaining()] == [BOB]

    def test_keeps_what_is_to_be_kept(self, tmp_path):
        path = tmp_path / "ada.json"

        assert run("erase_brevo_contact", ADA, "--export", str(path), "--keep") == f"Written: {path}.\n"

        assert len(json.loads(path.read_text())) == 2
        assert len(remaining()) == 3
        assert SendAttempt.objects.exclude(answer="").exists()

    @pytest.mark.skipif(os.name == "nt", reason="modes are of POSIX")
    def test_writes_for_the_eyes_of_its_owner_only(self, tmp_path):
        path = tmp_path / "ada.json"
        before = os.umask(0)
        try:
            run("erase_brevo_contact", ADA, "--export", str(path), "--keep")
        finally:
            os.umask(before)

        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_writes_over_no_other_file(self, tmp_path):
        path = tmp_path / "ada.json"
        path.write_text("precious")

        with pytest.raises(CommandError, match=r"Nothing was erased: .*ada\.json could not be written \(File exists\)"):
            run("erase_brevo_contact", ADA, "--no-input", "--export", str(path))

        assert path.read_text() == "precious"
        assert len(remaining()) == 3

    def test_follows_no_link_to_another_file(self, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

        with pytest.raises(CommandError, match="could not be written"):
            run("erase_brevo_contact", ADA, "--no-input", "--export", str(tmp_path / "link"))

        assert not (tmp_path / "elsewhere").exists()

    @pytest.mark.parametrize("name", ["nowhere/ada.json", "."])
    def test_erases_nothing_if_the_file_cannot_be_written(self, tmp_path, name):
        with pytest.raises(CommandError, match=r"Nothing was erased: .* could not be written"):
            run("erase_brevo_contact", ADA, "--no-input", "--export", str(tmp_path / name))

        assert len(remaining()) == 3

    def test_nothing_is_erased_if_the_output_is_a_full_disk(self):
        self.assert_refuses_to_erase(open("/dev/full", "w"), "No space left on device")  # noqa: SIM115

    def test_nothing_is_erased_if_nobody_reads_the_pipe_any_more(self):
        reader, writer = os.pipe()
        os.close(reader)

        self.assert_refuses_to_erase(open(writer, "w"), "Broken pipe")  # noqa: SIM115

    def assert_refuses_to_erase(self, out, why):
        with pytest.raises(CommandError) as raised:
            call_command("erase_brevo_contact", ADA, "--no-input", "--export", "-", stdout=out)

        assert str(raised.value) == f"Nothing was erased: the output could not be written ({why})."
        assert len(remaining()) == 3
        with suppress(OSError):
            out.close()

    def test_nothing_is_erased_if_an_unbuffered_output_takes_only_a_part(self, in_thread):
        # As PYTHONUNBUFFERED makes it: such a stream does not say how much of a text it has written.
        track_many([Event("viewed", ADA, data={"text": "x" * 40_000})] * 40)
        reader, writer = os.pipe()

        def read_a_little():
            os.read(reader, 100)
            os.close(reader)

        in_thread(read_a_little)
        out = io.TextIOWrapper(open(writer, "wb", buffering=0), write_through=True)  # noqa: SIM115
        with pytest.raises(CommandError, match="Broken pipe"):
            call_command("erase_brevo_contact", ADA, "--no-input", "--export", "-", stdout=out, stderr=io.StringIO())

        assert len(remaining()) == 3 + 40
        out.close()

    @pytest.mark.parametrize("export", ["", " "])
    def test_nothing_is_erased_if_a_program_names_no_file(self, export):
        for keep in (False, True):
            with pytest.raises(CommandError, match="--export needs a file name"):
                call_command("erase_brevo_contact", ADA, export=export, keep=keep, interactive=False)

        assert len(remaining()) == 3

    def test_a_pipe_that_is_read_takes_the_export(self):
        reader, writer = os.pipe()
        with open(writer, "w") as out:
            call_command("erase_brevo_contact", ADA, "--no-input", "--export", "-", stdout=out, stderr=io.StringIO())

        with open(reader) as written:
            assert len(json.load(written)) == 2
        assert len(remaining()) == 1

    @pytest.mark.parametrize("destination", ["file", "output"])
    def test_nothing_is_erased_if_the_disk_is_full_only_when_it_is_written(self, tmp_path, monkeypatch, destination):
        def fail(descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", fail)
        path = tmp_path / "ada.json"

        with pytest.raises(CommandError, match="No space left on device"), open(tmp_path / "out", "w") as out:
            export = str(path) if destination == "file" else "-"
            call_command("erase_brevo_contact", ADA, "--no-input", "--export", export, stdout=out)

        assert len(remaining()) == 3
        assert not path.exists()

    @pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()], ids=repr)
    def test_half_a_file_is_removed_and_nothing_is_erased(self, tmp_path, monkeypatch, error):
        def fail(descriptor):
            raise error

        monkeypatch.setattr(os, "fsync", fail)
        path = tmp_path / "ada.json"

        with pytest.raises((CommandError, KeyboardInterrupt)):
            run("erase_brevo_contact", ADA, "--no-input", "--export", str(path))

        assert not path.exists()
        assert len(remaining()) == 3
        monkeypatch.undo()
        assert run("erase_brevo_contact", ADA, "--no-input", "--export", str(path)).endswith("Erased: 2.\n")

    def test_an_event_that_is_captured_after_the_export_is_kept_and_reported(self, tmp_path, monkeypatch):
        export, late = privacy.export, []

        def capture_afterwards(email):
            yield from export(email)
            late.append(track("late", ADA))

        monkeypatch.setattr(privacy, "export", capture_afterwards)
        path = tmp_path / "ada.json"

        with pytest.raises(CommandError, match=r"1 event was captured after the export, and is kept\."):
            run("erase_brevo_contact", ADA, "--no-input", "--export", str(path))

        assert [event["name"] for event in json.loads(path.read_text())] == ["viewed", "bought"]
        assert [event.pk for event in remaining() if event.email == ADA] == [late[0].pk]

    def test_export_to_a_terminal_has_no_character_that_steers_it(self):
        track("viewed", ADA, data={"name": "\x9b31mred"})
        out = Terminal()

        call_command("erase_brevo_contact", ADA, "--export", "-", "--keep", stdout=out, no_color=True)

        assert out.getvalue().isascii()
        assert json.loads(out.getvalue())[-1]["body"]["eventdata"]["data"] == {"name": "\x9b31mred"}

    def test_writes_of_an_unknown_contact_that_nothing_is_kept(self, tmp_path):
        path = tmp_path / "eve.json"

        run("erase_brevo_contact", "eve@example.com", "--export", str(path))

        assert json.loads(path.read_text()) == []

    @pytest.mark.parametrize(("options", "left"), [(["--keep"], 3), (["--no-input"], 1)])
    def test_to_the_output_is_nothing_but_json(self, options, left):
        out, err = io.StringIO(), io.StringIO()

        call_command("erase_brevo_contact", ADA, "--export", "-", *options, stdout=out, stderr=err, no_color=True)

        assert [event["name"] for event in json.loads(out.getvalue())] == ["viewed", "bought"]
        assert err.getvalue() == ("Erased: 2.\n" if left == 1 else "")
        assert len(remaining()) == left

    def test_to_the_output_is_nothing_but_json_of_an_unknown_contact(self):
        out, err = io.StringIO(), io.StringIO()

        call_command("erase_brevo_contact", "eve@example.com", "--export", "-", stdout=out, stderr=err, no_color=True)

        assert json.loads(out.getvalue()) == []
        assert err.getvalue() == "Nothing is kept of this contact.\n"

    def test_to_the_output_asks_beside_it(self, asked):
        # Where the output is no terminal, input() writes its question there.
        out, err = io.StringIO(), io.StringIO()

        call_command("erase_brevo_contact", ADA, "--export", "-", stdout=out, stderr=err, no_color=True)

        assert asked == [""]
        assert err.getvalue() == "Erase 2 events for good? [y/N] Erased: 2.\n"
        assert len(json.loads(out.getvalue())) == 2

    def test_to_the_output_is_as_long_as_it_needs_to_be(self, tmp_path):
        track_many(Event("viewed", ADA, data={"text": "x" * 1000}) for _ in range(1200))
        out = io.StringIO()

        call_command("erase_brevo_contact", ADA, "--export", "-", "--keep", stdout=out)

        assert len(json.loads(out.getvalue())) == 1202


class ProgressTests:
    @pytest.fixture(autouse=True)
    def _small_steps(self, monkeypatch):
        for module in (privacy, querysets, retention):
            monkeypatch.setattr(module, "BATCH", 2)

    @pytest.fixture
    def prunable(self):
        for days in (31, 32, 33):
            ended(days=days)

    @pytest.fixture
    def waiting(self):
        for _ in range(3):
            track("viewed", ADA)

    @pytest.fixture
    def failed(self):
        for _ in range(3):
            ended(Status.FAILED, days=1)

    COMMANDS = pytest.mark.parametrize(
        ("state", "command"),
        [
            ("prunable", ["prune_brevo_events"]),
            ("waiting", ["erase_brevo_contact", ADA, "--no-input"]),
            ("waiting", ["cancel_brevo_events", "--email", ADA, "--no-input"]),
            ("failed", ["resend_brevo_events", "--email", ADA, "--no-input"]),
        ],
        ids=lambda value: value[0] if isinstance(value, list) else "",
    )

    @COMMANDS
    def test_is_shown_on_a_terminal(self, request, state, command):
        request.getfixturevalue(state)

        assert shown_by(*command) == "\r2 of 3\r3 of 3\n"

    @COMMANDS
    def test_is_not_shown_to_a_file(self, request, state, command):
        request.getfixturevalue(state)
        out, err = io.StringIO(), io.StringIO()

        call_command(*command, stdout=out, stderr=err, no_color=True)

        assert err.getvalue() == ""
        assert out.getvalue().count("\n") == 1

    @pytest.mark.parametrize(
        "command", [["prune_brevo_events"], ["erase_brevo_contact", ADA], ["cancel_brevo_events", "--email", ADA]]
    )
    def test_is_not_shown_of_nothing(self, command):
        assert shown_by(*command) == ""

    @pytest.mark.usefixtures("waiting")
    def test_does_not_spoil_an_export_to_the_output(self):
        out, err = io.StringIO(), Terminal()

        call_command("erase_brevo_contact", ADA, "--export", "-", "--no-input", stdout=out, stderr=err, no_color=True)

        assert len(json.loads(out.getvalue())) == 3
        assert err.getvalue() == "\r2 of 3\r3 of 3\nErased: 3.\n"

    @pytest.mark.usefixtures("prunable")
    def test_is_not_counted_beforehand_where_nobody_sees_it(self, monkeypatch):
        counted = []
        count = querysets.OutboxEventQuerySet.count
        monkeypatch.setattr(querysets.OutboxEventQuerySet, "count", lambda self: counted.append(self) or count(self))

        run("prune_brevo_events")

        assert counted == []
