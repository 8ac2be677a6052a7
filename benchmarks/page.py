"""A project with one page, which captures an event for a new contact; served by gunicorn."""

from __future__ import annotations

import itertools
import json
import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

from benchmarks import databases

if not settings.configured:
    databases.configure(**json.loads(os.environ["BENCHMARK"]))
    settings.ROOT_URLCONF = "benchmarks.page"

from benchmarks import rows
from brevo_events import track

_numbers = itertools.count()


def page(request: HttpRequest) -> HttpResponse:
    """Capture what a change of a cart would capture."""
    with transaction.atomic():
        track(**rows.arguments(next(_numbers)))
    return HttpResponse("ok")


urlpatterns = [path("", page)]
application = get_wsgi_application()
