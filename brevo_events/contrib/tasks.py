"""Engine ``tasks``: a pass is one of Django's tasks. Imported only if ``ENGINE`` names it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from brevo_events.engines.queued import QueuedEngine, run_pass, run_prune
from brevo_events.exceptions import InvalidSetting

try:
    _tasks: Any = import_module("django.tasks" if find_spec("django.tasks") else "django_tasks")
except ImportError as error:
    raise ImportError(
        "brevo_events.contrib.tasks needs Django 6 or django-tasks: pip install 'django-brevo-events[tasks]'"
    ) from error

# The project may set up a separate backend, with its own queues and workers.
BACKEND = "brevo_events" if "brevo_events" in _tasks.task_backends.settings else "default"


class TasksEngine(QueuedEngine):
    """Delivers with the task ``brevo_events.contrib.tasks.deliver``."""

    def enqueue(self) -> None:
        deliver.enqueue()

    def check(self) -> list[checks.CheckMessage]:
        backend = _tasks.task_backends[BACKEND]
        if isinstance(backend, _of("backends.dummy.DummyBackend")):
            problem = "runs no tasks"
        elif isinstance(backend, _of("backends.immediate.ImmediateBackend")):
            problem = "runs tasks in the process that queues them"
        else:
            return []
        hint = "Choose one that has workers, such as django-tasks-db, or set ENGINE to 'thread', which needs no tasks."
        message = f"ENGINE is 'tasks', but the backend TASKS[{BACKEND!r}] {problem}."
        return [checks.Warning(message, hint=hint, id="brevo_events.W011")]


def _of(path: str) -> Any:
    return import_string(f"{_tasks.__name__}.{path}")


def _task(function: Callable[[], None]) -> Any:
    try:
        return _tasks.task(backend=BACKEND)(function)
    except (ImproperlyConfigured, _of("exceptions.TaskException")) as error:
        raise InvalidSetting(
            f"BREVO_EVENTS['ENGINE'] is 'tasks', but TASKS[{BACKEND!r}] does not accept its tasks: {error} "
            "They use the queue 'default'. TASKS['brevo_events'] may be a backend for them alone."
        ) from error


@_task
def deliver() -> None:
    """Make one pass, limited in time."""
    run_pass()


@_task
def prune() -> None:
    """Delete old finished events; if a minute isn't enough, another task does the rest."""
    if run_prune():
        prune.enqueue()
