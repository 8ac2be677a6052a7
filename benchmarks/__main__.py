"""
Measure brevo_events, and compare it with its targets.

``python -m benchmarks [NAME …] [--quick]`` runs all benchmarks by default; run
it from the project's root. It uses SQLite, and the servers named by
``TEST_POSTGRES_URL`` and ``TEST_MARIADB_URL``, each in a separate process.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from importlib import import_module

from benchmarks import databases

NAMES = (
    "capture",
    "claim",
    "costs",
    "delivery",
    "processes",
    "memory",
    "latency",
    "idle",
    "pages",
    "faults",
    "prune",
    "admin",
)


def main() -> None:
    """Run the benchmarks named on the command line, on every database or on the given one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Hold brevo_events against its targets.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"which ones: {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer, for a look")
    parser.add_argument("--database", choices=databases.available(), help="only this one")
    options = parser.parse_args()
    if unknown := set(options.names).difference(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the databases are dropped
    if options.database:
        measure(options.database, [name for name in NAMES if name in (options.names or NAMES)], quick=options.quick)
    else:
        sys.exit(max(_in_own_process(database) for database in databases.available()))


def measure(database: str, names: list[str], *, quick: bool) -> None:
    """Run benchmarks on one database, print their tables and store their results."""
    with tempfile.TemporaryDirectory(prefix="brevo-events-") as directory:
        databases.configure(databases.throwaway(database, directory))
        with databases.created("default"):
            _run(database, names, quick)


def _run(database: str, names: list[str], quick: bool) -> None:
    # These load models, for which Django must be set up.
    from benchmarks import figures, machine

    about = machine.describe()
    print(f"\n{machine.line(about)}{' (quick)' if quick else ''}", flush=True)
    for name in names:
        began = time.monotonic()
        found = import_module(f"benchmarks.{name}").run(quick)
        figures.keep(name, database, found, machine=about, quick=quick)
        print(f"\n{name} ({time.monotonic() - began:.0f} s)\n{figures.table(found)}", flush=True)


def _in_own_process(database: str) -> int:
    process = subprocess.Popen([sys.executable, "-m", "benchmarks", *sys.argv[1:], "--database", database])
    try:
        return process.wait()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
