"""
The suite on other versions: ``make matrix``, or ``nox -s "django(5.2)"`` for one of them.

Each session tests what needs neither a browser nor other processes. Those of a
database driver need its server, which ``TEST_POSTGRES_URL`` or
``TEST_MARIADB_URL`` names. What this machine lacks is skipped and named.
"""

from __future__ import annotations

import os

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False

PYTHONS = {"5.2": ["3.11", "3.12", "3.13"], "6.0": ["3.12", "3.13"], "6.1": ["3.12", "3.13"]}
FOLDERS = ("tests/unit", "tests/http", "tests/database")
LOWEST = (
    *("django==5.2", "django-environ==0.11.2", "requests==2.32.4", "urllib3==1.26.20", "idna==2.5"),
    *("celery==5.4", "prometheus-client==0.20", "django-tasks==0.12", "django-tasks-db==0.12"),
)


def suite(session: nox.Session, *installed: str, without: tuple[str, ...] = (), **environment: str) -> None:
    """Install the project with its test tools, then what the session is about, and run the suite."""
    session.install("--quiet", "--upgrade", "pip>=25.1")
    session.install("--quiet", "--editable", ".", "--group", "test")
    session.install("--quiet", *installed)
    if without:
        session.run("python", "-m", "pip", "uninstall", "--quiet", "--yes", *without)
    session.run("python", "-m", "pip", "freeze", "--exclude-editable")
    processes = os.environ.get("TEST_PROCESSES", "4")
    session.run("pytest", "-n", processes, "--dist", "worksteal", *(session.posargs or FOLDERS), env=environment)


@nox.session
@nox.parametrize(
    "python,django",
    [nox.param(python, version, id=f"{version} on {python}") for version, found in PYTHONS.items() for python in found],
)
def django(session: nox.Session, django: str) -> None:
    """Test a version of Django on each Python that it supports."""
    suite(session, f"django~={django}.0")


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """Test the lowest versions that the project allows."""
    suite(session, *LOWEST)


@nox.session(python="3.11")
def urllib3(session: nox.Session) -> None:
    """Test the older series of urllib3."""
    suite(session, "urllib3<2")


@nox.session(python="3.11")
def psycopg2(session: nox.Session) -> None:
    """Test PostgreSQL's older driver."""
    url = _url(session, "TEST_POSTGRES_URL")
    newer = ("psycopg", "psycopg-binary", "psycopg-pool")  # Django prefers it
    suite(session, "psycopg2-binary", without=newer, TEST_DATABASE_URL=url)


@nox.session(python="3.11")
def pymysql(session: nox.Session) -> None:
    """Test MariaDB's driver in Python."""
    suite(session, "pymysql", TEST_DATABASE_URL=_url(session, "TEST_MARIADB_URL"), TEST_PYMYSQL="1")


def _url(session: nox.Session, name: str) -> str:
    if not os.environ.get(name):
        session.skip(f"{name} is not set.")
    return os.environ[name]
