from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from brevo_events import checks, engines
from brevo_events.exceptions import InvalidSetting


@pytest.fixture
def celery():
    pytest.importorskip("celery")
    return import_module("brevo_events.contrib.celery")


@pytest.fixture
def tasks():
    if not (find_spec("django.tasks") or find_spec("django_tasks")):
        pytest.skip("neither Django 6 nor django-tasks is installed")
    return import_module("brevo_events.contrib.tasks")


@pytest.fixture
def app(celery, monkeypatch):
    """The project's Celery application; its attribute ``conf`` takes settings."""
    app = import_module("celery").Celery("shop", set_as_current=False)
    app.set_as_current = True
    monkeypatch.setattr(celery, "current_app", app)
    return app


@contextmanager
def default_backend(tasks, backend):
    """Give Django's tasks another default backend."""
    handler = tasks._tasks.task_backends
    former, handler.settings = handler.settings, {"default": backend}
    handler._connections = type(handler)()._connections
    try:
        yield
    finally:
        handler.settings, handler._connections = former, type(handler)()._connections


def problems(engine):
    return [(problem.id.removeprefix("brevo_events."), problem.msg) for problem in engine.check()]


class CeleryTests:
    def test_has_tasks_with_names_to_schedule_and_to_route(self, celery):
        assert (celery.deliver.name, celery.prune.name) == ("brevo_events.deliver", "brevo_events.prune")

    def test_pruning_goes_on_in_another_task_if_there_is_more(self, celery, monkeypatch):
        queued = []
        monkeypatch.setattr(celery.prune, "apply_async", lambda: queued.append(True))
        for has_more in (False, True):
            monkeypatch.setattr(celery, "run_prune", lambda has_more=has_more: has_more)
            celery.prune()

        assert queued == [True]

    def test_queues_a_task(self, celery, monkeypatch):
        queued = []
        monkeypatch.setattr(celery.deliver, "apply_async", lambda **options: queued.append(options["retry_policy"]))

        celery.CeleryEngine().enqueue()

        assert queued == [{"max_retries": 1, "interval_start": 0, "interval_step": 0.2}]


class CeleryCheckTests:
    def test_is_content_with_what_celery_has_by_default(self, celery, app):
        assert problems(celery.CeleryEngine()) == []

    def test_warns_if_no_application_is_loaded(self, celery, app):
        app.set_as_current = False

        ((number, message),) = problems(celery.CeleryEngine())
        assert (number, message) == ("W010", "ENGINE is 'celery', but no Celery app is loaded.")

    def test_warns_if_tasks_run_where_they_are_queued(self, celery, app):
        app.conf.task_always_eager = True

        ((number, message),) = problems(celery.CeleryEngine())
        assert number == "W011"
        assert "task_always_eager" in message

    @pytest.mark.parametrize(
        ("conf", "unknown"),
        [
            ({"task_queues": ["mail"]}, "'celery'"),
            ({"task_queues": {"mail": {}}}, "'celery'"),
            ({"task_queues": ["mail"], "task_default_queue": "mail"}, ""),
            ({"task_queues": ["celery", "brevo"], "task_routes": {"brevo_events.*": "brevo"}}, ""),
            ({"task_queues": ["celery"], "task_routes": {"brevo_events.*": {"queue": "brevo"}}}, "'brevo'"),
            ({"task_routes": {"brevo_events.*": {"queue": "brevo"}}}, ""),
            ({"task_routes": {"brevo_events.*": "brevo"}, "task_create_missing_queues": False}, "'brevo'"),
        ],
    )
    def test_warns_of_a_queue_that_no_worker_reads(self, celery, app, conf, unknown):
        from kombu import Queue

        if isinstance(conf.get("task_queues"), list):
            conf["task_queues"] = [Queue(name) for name in conf["task_queues"]]
        app.conf.update(conf)

        found = problems(celery.CeleryEngine())

        assert [number for number, _ in found] == (["W012", "W012"] if unknown else [])
        assert all(unknown in message for _, message in found)
        assert set(app.amqp.queues) == {getattr(queue, "name", queue) for queue in conf.get("task_queues", ["celery"])}

    @pytest.mark.parametrize(("seconds", "expected"), [(3600, []), (37, ["W013"]), (38, [])])
    def test_warns_of_a_visibility_timeout_that_a_pass_may_outlast(self, celery, app, seconds, expected):
        app.conf.broker_transport_options = {"visibility_timeout": seconds}

        assert [number for number, _ in problems(celery.CeleryEngine())] == expected


class TasksTests:
    def test_pruning_goes_on_in_another_task_if_there_is_more(self, tasks, monkeypatch):
        queued = []
        monkeypatch.setattr(type(tasks.prune), "enqueue", lambda task: queued.append(task.name))
        for has_more in (False, True):
            monkeypatch.setattr(tasks, "run_prune", lambda has_more=has_more: has_more)
            tasks.prune.call()

        assert queued == ["prune"]

    def test_queues_a_task(self, tasks, monkeypatch):
        queued = []
        monkeypatch.setattr(type(tasks.deliver), "enqueue", lambda task: queued.append(task.module_path))

        tasks.TasksEngine().enqueue()

        assert queued == ["brevo_events.contrib.tasks.deliver"]

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("immediate.ImmediateBackend", "runs tasks in the process that queues them"),
            ("dummy.DummyBackend", "runs no tasks"),
        ],
    )
    def test_warns_of_a_backend_without_workers(self, tasks, name, problem):
        package = tasks._tasks.__name__
        with default_backend(tasks, {"BACKEND": f"{package}.backends.{name}"}):
            ((number, message),) = problems(tasks.TasksEngine())

        assert (number, message) == ("W011", f"ENGINE is 'tasks', but the backend TASKS['default'] {problem}.")

    def test_is_content_with_a_backend_that_has_workers(self, tasks, monkeypatch):
        base = import_string(f"{tasks._tasks.__name__}.backends.base.BaseTaskBackend")
        backend = type("WorkersBackend", (base,), {"enqueue": lambda self, task, args, kwargs: None})
        monkeypatch.setattr(sys.modules[__name__], "WorkersBackend", backend, raising=False)
        with default_backend(tasks, {"BACKEND": f"{__name__}.WorkersBackend"}):
            assert problems(tasks.TasksEngine()) == []

    def test_refuses_a_backend_that_does_not_have_its_queue(self, tasks, monkeypatch):
        backend = {"BACKEND": f"{tasks._tasks.__name__}.backends.immediate.ImmediateBackend", "QUEUES": ["mail"]}
        monkeypatch.delitem(sys.modules, tasks.__name__)
        with default_backend(tasks, backend), pytest.raises(InvalidSetting) as refused:
            import_module(tasks.__name__)

        assert "TASKS['default'] does not accept its tasks: Queue 'default' is not valid for backend" in str(
            refused.value
        )


class MissingPackageTests:
    @pytest.fixture(autouse=True)
    def _fresh(self, monkeypatch):
        monkeypatch.setattr(engines, "_engines", {})
        for name in ("celery", "tasks"):
            monkeypatch.delitem(sys.modules, f"brevo_events.contrib.{name}", raising=False)

    @pytest.mark.parametrize("name", ["celery", "tasks"])
    def test_is_named_in_one_sentence(self, settings, monkeypatch, name):
        if name == "tasks" and find_spec("django.tasks"):
            pytest.skip("Django has tasks itself")
        for module in ("celery", "django_tasks"):
            monkeypatch.setitem(sys.modules, module, None)
        settings.BREVO_EVENTS = {"ENGINE": name}
        sentence = f"pip install 'django-brevo-events[{name}]'"

        with pytest.raises(ImportError, match=f"^brevo_events.contrib.{name} needs .*: pip install") as missing:
            import_module(f"brevo_events.contrib.{name}")
        with pytest.raises(ImproperlyConfigured, match=rf"^BREVO_EVENTS\['ENGINE'\] is '{name}': ") as refused:
            engines.current()

        assert str(missing.value).endswith(sentence)
        assert sentence in str(refused.value)
        engines.load()
        assert [problem.id for problem in checks.check_settings(None)] == ["brevo_events.E003"]
        assert checks.check_engine(None) == []

    def test_is_named_for_prometheus_too(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "brevo_events.contrib.prometheus", raising=False)
        for name in [name for name in sys.modules if name.startswith("prometheus_client")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "prometheus_client", None)

        with pytest.raises(ImportError, match=r"prometheus-client: pip install 'django-brevo-events\[prometheus\]'$"):
            import_module("brevo_events.contrib.prometheus")

    def test_does_not_matter_to_other_engines(self, settings, monkeypatch):
        for module in ("celery", "django_tasks"):
            monkeypatch.setitem(sys.modules, module, None)
        settings.BREVO_EVENTS = {"ENGINE": "thread"}

        engines.load()
        assert checks.check_engine(None) == []


class LoadTests:
    @pytest.mark.parametrize("engine", ["celery", "thread"])
    def test_imports_a_task_queue_at_start_up_only_if_the_settings_name_it(self, celery, engine):
        code = "import django, sys; django.setup(); print('brevo_events.contrib.celery' in sys.modules)"
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "BREVO_EVENTS_ENGINE": engine}

        shown = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True
        )

        assert shown.stdout == f"{engine == 'celery'}\n"
