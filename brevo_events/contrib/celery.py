"""Engine ``celery``: a pass is a Celery task. Imported only if ``ENGINE`` names it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core import checks

from brevo_events.engines.queued import QueuedEngine, longest_pass, run_pass, run_prune

try:
    from celery import current_app, shared_task
except ImportError as error:
    raise ImportError("brevo_events.contrib.celery needs Celery: pip install 'django-brevo-events[celery]'") from error

# Acknowledged when it starts: a killed worker's events come back when their leases end, and a task that kills its
# worker isn't run again. These limits end a task that hangs; the project's own may be shorter than a pass.
OPTIONS = {"ignore_result": True, "acks_late": False, "soft_time_limit": 290, "time_limit": 300}
# Otherwise an unreachable broker would be retried forever without an error. A lost connection is reopened once.
RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2}


class CeleryEngine(QueuedEngine):
    """Delivers with the Celery task ``brevo_events.deliver``."""

    def enqueue(self) -> None:
        deliver.apply_async(retry=True, retry_policy=RETRY_POLICY)

    def check(self) -> list[checks.CheckMessage]:
        return [*_app_problems(), *_queue_problems(), *_visibility_problems()]


@shared_task(name="brevo_events.deliver", **OPTIONS)  # type: ignore[untyped-decorator]
def deliver() -> None:
    """Make one pass, limited in time."""
    run_pass()


@shared_task(name="brevo_events.prune", **OPTIONS)  # type: ignore[untyped-decorator]
def prune() -> None:
    """Delete old finished events; if a minute isn't enough, another task does the rest."""
    if run_prune():
        prune.apply_async()


def _app_problems() -> Iterator[checks.CheckMessage]:
    if not current_app.set_as_current:  # a default app that Celery has created
        hint = "Import yours in the package of your settings, as Celery's documentation shows for Django."
        yield checks.Warning("ENGINE is 'celery', but no Celery app is loaded.", hint=hint, id="brevo_events.W010")
    elif current_app.conf.task_always_eager:
        hint = "Leave task_always_eager out, or set ENGINE to 'thread', which needs no tasks."
        message = "ENGINE is 'celery', but Celery runs tasks in the process that queues them (task_always_eager)."
        yield checks.Warning(message, hint=hint, id="brevo_events.W011")


def _queue_problems() -> Iterator[checks.CheckMessage]:
    conf = current_app.conf
    known = _names(conf.task_queues or [conf.task_default_queue])
    is_open = conf.task_create_missing_queues and not conf.task_queues
    for task in (deliver, prune):
        queue = _queue_of(task.name)
        if queue not in known and not is_open:
            hint = "Add the queue to task_queues, or route brevo_events.* to one that your workers read (task_routes)."
            message = f"Celery routes {task.name} to the queue {queue!r}, which is not in task_queues."
            yield checks.Warning(message, hint=hint, id="brevo_events.W012")


def _queue_of(task: str) -> str:
    # Not with Router.route(): in a worker, it would add a missing queue to those that the worker reads.
    route = current_app.amqp.router.lookup_route(task, (), {}, {}, None)
    found: Any = route if isinstance(route, str) else (route or {}).get("queue")
    return next(iter(_names([found or current_app.conf.task_default_queue])))


def _names(queues: Any) -> set[str]:
    return {getattr(queue, "name", queue) for queue in queues}


def _visibility_problems() -> Iterator[checks.CheckMessage]:
    visible_after = (current_app.conf.broker_transport_options or {}).get("visibility_timeout")
    if visible_after is not None and visible_after < longest_pass():
        message = f"Celery's visibility_timeout is {visible_after} seconds, but a pass may take {longest_pass():.0f}."
        hint = "Raise it in broker_transport_options: until then, a task that takes long may run twice."
        yield checks.Warning(message, hint=hint, id="brevo_events.W013")
