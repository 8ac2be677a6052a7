"""How Sphinx builds these pages: ``make docs``."""

from __future__ import annotations

import tomllib
from pathlib import Path

import django
from django.conf import settings

# What autodoc imports has models, and those need settings.
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "brevo_events"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    SECRET_KEY="only to read docstrings",
)
django.setup()

from brevo_events import __version__  # noqa: E402

ROOT = Path(__file__).parent.parent
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]

project = "django-brevo-events"
author = "the brevo_events developers"
copyright = f"2026, {author}"  # noqa: A001
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.extlinks",
    "sphinxcontrib.mermaid",
]
exclude_patterns = ["requirements.txt"]

myst_enable_extensions = ["tasklist"]
myst_heading_anchors = 3
myst_fence_as_directive = ["mermaid"]

# Links into other documentation are plain addresses, so that the pages can be built without a network.
extlinks = {
    "django": ("https://docs.djangoproject.com/en/stable/%s", "%s"),
    "source": (f"{URLS['Repository']}/blob/main/%s", "%s"),
}
extlinks_detect_hardcoded_links = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signature has them in the source; here they would hide the words
python_use_unqualified_type_names = True

nitpicky = True
nitpick_ignore_regex = [
    # Django's and Python's own classes, of which there is no inventory here.
    ("py:.*", r"(django|collections|datetime|decimal|typing|http|unittest)\..*"),
    ("py:.*", r"(builtins\.)?(ValueError|TypedDict|TestCase|Exception|dict|object)"),
    # Base classes that aren't part of the public API.
    ("py:.*", r"brevo_events\.(events|models|querysets|delivery|engines|transports|conf|answers)\..*"),
    ("py:.*", r"Unpack.*|Item.*|Address.*|models\..*"),
]

html_theme = "furo"
html_title = f"brevo_events {version}"
html_theme_options = {
    "source_repository": URLS["Repository"],
    "source_branch": "main",
    "source_directory": "docs/",
}
