#!/bin/sh
# Run the suite on SQLite, and on each server that the environment names; say which is left out.
set -eu
python=${PYTHON:-python}

run() {
    name=$1 url=$2
    shift 2
    printf '\n== %s\n' "$name"
    TEST_DATABASE_URL=$url "$python" -m pytest "$@"
}

coverage="--cov --cov-report="
rm -f .coverage .coverage.*

run SQLite "" $coverage
if [ -n "${TEST_POSTGRES_URL:-}" ]; then
    run PostgreSQL "$TEST_POSTGRES_URL" -m "not slow" $coverage --cov-append
else
    printf '\n== PostgreSQL: left out, since TEST_POSTGRES_URL is not set.\n'
fi
if [ -n "${TEST_MARIADB_URL:-}" ]; then
    "$python" -m pip install --quiet --disable-pip-version-check --editable ".[mariadb]"
    run MariaDB "$TEST_MARIADB_URL" -m "not slow" $coverage --cov-append
    TEST_MARIADB_TIME_ZONE=-07:00
    export TEST_MARIADB_TIME_ZONE
    run "MariaDB, seven hours off UTC" "$TEST_MARIADB_URL" tests/test_delivery.py tests/test_models.py
else
    printf '\n== MariaDB: left out, since TEST_MARIADB_URL is not set.\n'
fi
printf '\n'
"$python" -m coverage report
