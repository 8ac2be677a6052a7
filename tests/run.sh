#!/bin/sh
# Run the suite, or the chaos runs, on SQLite and on each server that the environment names; say which is left out.
set -eu
python=${PYTHON:-python}
what=${1:-tests}

run() {
    name=$1 TEST_DATABASE_URL=$2
    shift 2
    export TEST_DATABASE_URL
    printf '\n== %s\n' "$name"
    if [ "$what" = chaos ]; then
        "$python" -m tests.chaos
    else
        # More processes than cores: many tests wait for an answer or a deadline. Such a test can starve when all are
        # busy at once, so what failed must pass alone.
        "$python" -m pytest -n "${TEST_PROCESSES:-4}" --cov --cov-report= --cov-append "$@" || {
            [ $? -eq 1 ] || exit 1
            printf '\n== %s: what failed, once more and alone\n' "$name"
            "$python" -m pytest --cov --cov-report= --cov-append --last-failed --last-failed-no-failures none "$@"
        }
    fi
}

rm -f .coverage .coverage.*

for broker in RABBITMQ REDIS; do
    eval "url=\${TEST_${broker}_URL:-}"
    [ -n "$url" ] || printf '\n== Celery on %s: left out, since TEST_%s_URL is not set.\n' "$broker" "$broker"
done

run SQLite ""
if [ "$what" = tests ]; then
    no_browser=$("$python" -m tests.browser.chromium) || printf '\n== Browser tests: left out. %s\n' "$no_browser"
fi
if [ -n "${TEST_POSTGRES_URL:-}" ]; then
    run PostgreSQL "$TEST_POSTGRES_URL" -m "not slow"
else
    printf '\n== PostgreSQL: left out, since TEST_POSTGRES_URL is not set.\n'
fi
if [ -n "${TEST_MARIADB_URL:-}" ]; then
    "$python" -m pip install --quiet --disable-pip-version-check --group mariadb
    run MariaDB "$TEST_MARIADB_URL" -m "not slow"
    if [ "$what" = tests ]; then
        export TEST_MARIADB_TIME_ZONE=-07:00
        run "MariaDB, seven hours off UTC" "$TEST_MARIADB_URL" tests/test_delivery.py tests/test_models.py
    fi
else
    printf '\n== MariaDB: left out, since TEST_MARIADB_URL is not set.\n'
fi
if [ "$what" = chaos ]; then
    export TEST_DATABASE_URL=${TEST_POSTGRES_URL:-}
    for queue in celery-rabbitmq celery-redis tasks; do
        printf '\n== Task queue: %s\n' "$queue"
        "$python" -m tests.task_chaos "$queue"
    done
fi
if [ "$what" = tests ]; then
    printf '\n'
    "$python" -m coverage report
fi
