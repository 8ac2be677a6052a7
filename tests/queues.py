"""Real task queues: their workers and two-second schedulers, in separate processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

ROOT = Path(__file__).parent.parent

# By the names of the queues that tests run on; none for Django's tasks, which are in the database.
BROKERS = {
    "celery-rabbitmq": os.environ.get("TEST_RABBITMQ_URL", ""),
    "celery-redis": os.environ.get("TEST_REDIS_URL", ""),
    "tasks": "",
}

# A task every two seconds, as Celery's beat makes them.
TICK = """
import time
from brevo_events.contrib.tasks import deliver
while True:
    time.sleep(2)
    deliver.enqueue()
"""


class Queue:
    """A separate queue on a broker, or without one, Django's tasks in the database."""

    def __init__(self, database, brevo_events, broker=""):
        self.engine = "celery" if broker else "tasks"
        given = {
            "name": f"brevo_events_{uuid.uuid4().hex}",
            "database": str(database),
            "brevo_events": {**brevo_events, "ENGINE": self.engine},
            "broker": broker,
        }
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.queue_settings",
            "TEST_QUEUE": json.dumps(given),
        }
        self.processes = []
        if self.engine == "tasks":
            self.run("-m", "django", "migrate", "django_tasks_database", "-v0")

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                kill(process)

    def worker(self):
        """Start a worker that does one task at a time."""
        if self.engine == "tasks":
            return self.start("-m", "django", "db_worker", "--interval=0.1", "--no-startup-delay", "-v0")
        name = f"--hostname={uuid.uuid4().hex}@localhost"
        options = (name, "--concurrency=1", "--without-gossip", "--without-mingle", "--loglevel=CRITICAL")
        return self.start("-m", "celery", "-A", "tests.queue_app", "--quiet", "worker", *options)

    def beat(self, folder):
        """Start the process that queues a task every two seconds."""
        if self.engine == "tasks":
            return self.start("-m", "django", "shell", "-v0", "-c", TICK)
        options = (f"--schedule={folder}/schedule", "--pidfile=", "--loglevel=CRITICAL")
        return self.start("-m", "celery", "-A", "tests.queue_app", "--quiet", "beat", *options)

    def shell(self, code):
        """Run code in a process of the project, to its end."""
        self.run("-c", f"import tests.queue_app, django; django.setup()\n{code}")

    def run(self, *arguments):
        subprocess.run([sys.executable, *arguments], env=self.environment, cwd=ROOT, check=True, timeout=60)

    def start(self, *arguments, reads=False):
        """Start a process, whose output the caller reads or leaves alone."""
        output = subprocess.PIPE if reads else None
        command = [sys.executable, "-W", "ignore", *arguments]  # Celery warns of being root
        process = subprocess.Popen(command, env=self.environment, cwd=ROOT, start_new_session=True, stdout=output)
        self.processes.append(process)
        return process


def kill(process):
    """Kill a process and its children, as the kernel does."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
