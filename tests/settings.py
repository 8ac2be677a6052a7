"""
Settings of the test suite.

``TEST_DATABASE_URL`` names the database to test on; the default is SQLite.
``make test`` sets it to each configured server in turn.
"""

from __future__ import annotations

import environ

env = environ.Env()

SECRET_KEY = "only for tests"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # for speed: nobody's password is kept
USE_TZ = True
TIME_ZONE = "Europe/Paris"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.urls"
STATIC_URL = "/static/"
LANGUAGE_CODE = "en"

DATABASES = {
    "default": env.db_url_config(env("TEST_DATABASE_URL", default="") or "sqlite:///:memory:"),
    "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, because tests with several connections need a database that they can share.
    DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 20}
    DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA synchronous = OFF"  # no test cuts the power
    DATABASES["default"]["TEST"] = {"NAME": env("TEST_SQLITE_FILE", default="test_brevo_events.sqlite3")}
if env.bool("TEST_PYMYSQL", default=False):
    import pymysql

    pymysql.version_info = (2, 2, 1, "final", 0)  # Django looks at mysqlclient's
    pymysql.install_as_MySQLdb()
if DATABASES["default"]["ENGINE"].endswith("mysql"):
    DATABASES["default"]["TEST"] = {"CHARSET": "utf8mb4"}
    if env("TEST_MARIADB_TIME_ZONE", default=""):
        DATABASES["default"]["OPTIONS"] = {"init_command": f"SET time_zone = '{env('TEST_MARIADB_TIME_ZONE')}'"}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "brevo_events",
    "tests.shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
