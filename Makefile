# Each target does its own set-up: a virtual environment in .venv, made again when pyproject.toml changes.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo shop test test-unit test-processes test-browser coverage matrix chaos bench pictures docs lint types format build clean

demo: $(VENV)/.runtime
	@$(BIN)/python example_project/manage.py demo $(if $(EMAIL),--email "$(EMAIL)")

shop: $(VENV)/.runtime
	@$(BIN)/python example_project/manage.py shop $(if $(PORT),--port $(PORT))

test: $(VENV)/.dev
	@PYTHON=$(BIN)/python sh tests/run.sh suite

test-unit test-processes test-browser: test-%: $(VENV)/.dev
	@PYTHON=$(BIN)/python sh tests/run.sh $*

coverage: $(VENV)/.dev
	@PYTHON=$(BIN)/python sh tests/run.sh coverage

matrix: $(VENV)/.dev
	$(BIN)/nox

chaos: $(VENV)/.dev
	@PYTHON=$(BIN)/python sh tests/run.sh chaos

bench: $(VENV)/.dev
	@$(BIN)/python -m benchmarks

pictures: $(VENV)/.dev
	@$(BIN)/python -m tests.browser.pictures

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --nitpicky docs build/docs
	@echo "Open build/docs/index.html"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/feature.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.readthedocs .readthedocs.yaml

types: $(VENV)/.dev
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(VENV)/.dev
	rm -rf build dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

clean:
	rm -rf $(VENV) .nox build dist *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"  # it knows dependency groups
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@ $(VENV)/.runtime

$(VENV)/.docs: pyproject.toml docs/requirements.txt | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --requirement docs/requirements.txt
	@touch $@
