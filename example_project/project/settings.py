"""Settings of the example shop, from the environment or the file .env."""

from __future__ import annotations

from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
if (BASE_DIR / ".env").is_file():
    env.read_env(BASE_DIR / ".env")

LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=LOOPBACK_HOSTS)

# These defaults are public, and for a developer's own machine only: a shop that others can reach must set its own key.
IS_PRIVATE = set(ALLOWED_HOSTS) <= set(LOOPBACK_HOSTS)
DEBUG = env.bool("DEBUG", default=IS_PRIVATE)
PUBLIC_KEY = "insecure-development-key-of-the-example-shop"
SECRET_KEY = env("SECRET_KEY", default=PUBLIC_KEY) if IS_PRIVATE else env("SECRET_KEY")
if SECRET_KEY == PUBLIC_KEY and not IS_PRIVATE:
    raise ImproperlyConfigured("Set SECRET_KEY to a key of your own: the one of the example is public.")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "brevo_events",
    "shop",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "project.middleware.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "shop.context_processors.visitor",
                "shop.stage.context_processors.panel",
            ],
        },
    },
]

BREVO_EVENTS = {"MA_KEY": env("BREVO_MA_KEY", default="")}

# The made-up history for the fake Brevo has its own database, out of reach of a real key.
DATABASE_NAME = "db.sqlite3" if BREVO_EVENTS["MA_KEY"] else "fake.sqlite3"
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{BASE_DIR / DATABASE_NAME}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A transaction that takes the write lock at once waits for it; one that upgrades later fails as "locked".
    DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE"}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
TIME_ZONE = env("TIME_ZONE", default="Europe/Paris")
USE_TZ = True

STATIC_URL = "static/"

# The shop's public URL, because people follow links in events from their mails.
SITE_URL = env("SITE_URL", default="http://127.0.0.1:8000")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {"brevo_events": {"handlers": ["console"], "level": "INFO"}},
}
