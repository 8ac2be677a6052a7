"""Follows *Start* and *The abandoned cart* in an empty environment, command by command."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess

import pytest

from tests.snippets import DOCS, snippets

FOLLOWED = ("start", "abandoned-cart")
SECONDS = 900  # of a busy machine; a quiet one takes one minute

BEGIN = r"""
set -eu
pids=
finish() { for pid in $pids; do kill -TERM -- "-$pid" 2>/dev/null || true; done; }
trap finish EXIT
reachable() {
    for _ in $(seq 150); do (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return; sleep 0.2; done
    exit 1
}
printed() {
    for _ in $(seq 150); do grep --quiet --line-regexp --fixed-strings -- "$1" background.txt && return; sleep 0.2; done
}
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Script:
    """The input that a page's reader types, as a shell script, and in ``expected`` the lines it should print."""

    def __init__(self, page, wheel):
        self.parts = [BEGIN]
        self.expected = []
        self.fake, self.site = free_port(), free_port()
        self.wheel = wheel
        self.output = "0"
        for number, snippet in enumerate(snippets(page, "python", "sh", "text"), start=1):
            if not snippet.mark.startswith("skip"):
                self.add(str(number), snippet)

    def add(self, number, snippet):
        if snippet.language == "python":
            if snippet.file:
                self.write(snippet)
        elif snippet.language == "sh":
            self.type(number, snippet)
        elif snippet.mark:
            output = "background" if snippet.mark.startswith("background") else self.output
            for line in snippet.text.splitlines():
                self.expected.append((output, line))
                if output == "background":  # a server in the background prints it when it gets there
                    self.parts.append(f"printed {shlex.quote(line)}\n")

    def write(self, snippet):
        redirect = ">>" if snippet.is_continued or snippet.file.endswith("settings.py") else ">"
        self.parts.append(f"cat {redirect} {snippet.file} <<'END OF FILE'\n{snippet.text}\nEND OF FILE\n")

    def type(self, number, snippet):
        text = snippet.text.replace("8025", str(self.fake))
        text = text.replace("pip install django-brevo-events", f"pip install --quiet {self.wheel}")
        if snippet.mark == "background":
            text = text.replace("runserver", f"runserver 127.0.0.1:{self.site} --noreload").strip()
            port = self.site if "runserver" in text else self.fake
            self.parts.append(f'setsid {text} >>background.txt 2>&1 & pids="$pids $!"\nreachable {port}\n')
        else:
            self.output = number
            self.parts.append(f"{{\n{text}\n}} >{number}.txt 2>&1 || {{ cat {number}.txt; exit 1; }}\n")


@pytest.mark.parametrize("name", FOLLOWED)
class FollowedTests:
    def test_every_command_works_as_it_is_written(self, name, built, tmp_path):
        script = Script(DOCS / f"{name}.md", next(built.glob("*.whl")))
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("DJANGO", "BREVO", "PYTEST"))}
        environment = clean | {"PYTHONUNBUFFERED": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

        done = subprocess.run(
            ["bash", "-c", "".join(script.parts)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

        assert done.returncode == 0, done.stdout + done.stderr
        assert script.expected
        for output, line in script.expected:
            printed = (tmp_path / f"{output}.txt").read_text()
            assert line in printed.splitlines(), f"{line!r} is not in {printed!r}"
