"""The page on which Django shows an error to developers."""

from __future__ import annotations

from django.test import RequestFactory
from django.views.debug import ExceptionReporter

from tests.conftest import KEY


def error_page(caught):
    """Return the page of an error that pytest has caught."""
    # The first frame is the test's own, which holds the key in its arguments.
    request = RequestFactory().get("/", BREVO_MA_KEY=KEY)
    return ExceptionReporter(request, caught.type, caught.value, caught.tb.tb_next).get_traceback_html()
