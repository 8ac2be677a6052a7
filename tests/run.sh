#!/bin/sh
# Run tests by what they cost: `suite` and `chaos` on SQLite and on each server that the environment names, the others
# once. Says what is left out.
set -eu
python=${PYTHON:-python}
what=${1:-suite}

left_out() { printf '\n== %s: left out, since %s is not set.\n' "$1" "$2"; }

run() {
    name=$1 TEST_DATABASE_URL=$2
    shift 2
    export TEST_DATABASE_URL
    printf '\n== %s\n' "$name"
    # More processes than cores: many tests wait for an answer or a deadline. Such a test can starve when all are
    # busy at once, so what failed must pass alone.
    "$python" -m pytest -n "${TEST_PROCESSES:-4}" --dist worksteal "$@" || {
        [ $? -eq 1 ] || exit 1
        printf '\n== %s: what failed, once more and alone\n' "$name"
        "$python" -m pytest --last-failed --last-failed-no-failures none "$@"
    }
}

chaos() {
    export TEST_DATABASE_URL=$2
    printf '\n== %s\n' "$1"
    "$python" -m tests.chaos
}

on_servers() {
    if [ -n "${TEST_POSTGRES_URL:-}" ]; then
        "$@" PostgreSQL "$TEST_POSTGRES_URL"
    else
        left_out PostgreSQL TEST_POSTGRES_URL
    fi
    if [ -n "${TEST_MARIADB_URL:-}" ]; then
        "$python" -m pip install --quiet --disable-pip-version-check --group mariadb
        "$@" MariaDB "$TEST_MARIADB_URL"
    else
        left_out MariaDB TEST_MARIADB_URL
    fi
}

on_a_database() { run "$1" "$2" tests/database; }

case $what in
unit)
    "$python" -m pytest tests/unit
    ;;
suite)
    run SQLite "" tests/unit tests/http tests/database
    on_servers on_a_database
    if [ -n "${TEST_MARIADB_URL:-}" ]; then
        export TEST_MARIADB_TIME_ZONE=-07:00
        run "MariaDB, seven hours off UTC" "$TEST_MARIADB_URL" tests/database/test_delivery.py tests/database/test_models.py
    fi
    printf '\nNot among them: what starts other processes (make test-processes) or a browser (make test-browser).\n'
    ;;
coverage)
    rm -f .coverage .coverage.*
    run SQLite "" --cov tests/unit tests/http tests/database
    ;;
processes)
    for broker in RABBITMQ REDIS; do
        eval "url=\${TEST_${broker}_URL:-}"
        [ -n "$url" ] || left_out "Celery on $broker" "TEST_${broker}_URL"
    done
    run "Other processes" "" tests/processes
    ;;
browser)
    "$python" -m tests.browser.chromium || exit 1
    run "In a browser" "" tests/browser
    ;;
chaos)
    chaos SQLite ""
    on_servers chaos
    export TEST_DATABASE_URL=${TEST_POSTGRES_URL:-}
    for queue in celery-rabbitmq celery-redis tasks; do
        printf '\n== Task queue: %s\n' "$queue"
        "$python" -m tests.task_chaos "$queue"
    done
    ;;
esac
