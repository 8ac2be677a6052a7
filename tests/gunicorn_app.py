"""The example shop for gunicorn; a header says which process answered, and how many of our threads it has."""

from __future__ import annotations

import os
import threading

from project.wsgi import application as shop


def application(environ, start_response):
    def told(status, headers, *rest):
        count = sum(thread.name == "brevo-events" for thread in threading.enumerate())
        return start_response(status, [*headers, ("x-threads", f"{os.getpid()}:{count}")], *rest)

    return shop(environ, told)
