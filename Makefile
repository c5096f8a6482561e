# `make run` and `make test` set up everything they need in .venv, once.
# Python 3.11+, make and git are all that must be there; `make help` lists the rest.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
PORT   ?= 3030
UNDERSTUDY_DATA_DIR ?= .understudy

.DEFAULT_GOAL := help
.PHONY: help run test demo lint format types bench bench-check test-pykka coverage clean

help:  ## list the targets
	@echo "understudy: durable, supervised actors for Python"
	@echo
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
	@echo
	@echo "variables: PYTHON=$(PYTHON)  VENV=$(VENV)  PORT=$(PORT)  UNDERSTUDY_DATA_DIR=$(UNDERSTUDY_DATA_DIR)  ARGS='...'"

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "make: $(PYTHON) is not here: install Python 3.11 or newer, or call make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is $$($(PYTHON) -V 2>&1): understudy needs Python 3.11 or newer; call make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) has no venv module: install it (Debian and Ubuntu: apt-get install python3-venv)"; exit 1; }
	@echo "making the virtual environment $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet --upgrade "pip>=24"

# One stamp per set of extras: a change of setup.cfg installs anew, nothing else does.
$(VENV)/.run: setup.cfg pyproject.toml | $(BIN)/python
	@echo "installing what the server needs (once)"
	@$(PIP) install --editable ".[web]"
	@touch $@

$(VENV)/.test: setup.cfg pyproject.toml | $(BIN)/python
	@echo "installing what the tests need (once)"
	@$(PIP) install --editable ".[web,postgres,redis,crypto,otel,bench,test]"
	@touch $@ $(VENV)/.run

$(VENV)/.lint: setup.cfg pyproject.toml | $(VENV)/.test
	@echo "installing the linters (once)"
	@$(PIP) install --editable ".[lint]"
	@touch $@

$(VENV)/.bench: setup.cfg pyproject.toml | $(BIN)/python
	@echo "installing what the benchmarks need (once)"
	@$(PIP) install --editable ".[web,bench]"
	@touch $@

run: $(VENV)/.run  ## serve the Librarian on http://127.0.0.1:$PORT (ARGS='--docs PATH' for your own documents)
	@PORT='$(PORT)' UNDERSTUDY_DATA_DIR='$(UNDERSTUDY_DATA_DIR)' exec $(BIN)/python examples/librarian $(ARGS)

test: $(VENV)/.test  ## run the test suite (ARGS='tests/actors -k mailbox' for a part)
	@if [ -n "$(ARGS)" ]; then exec $(BIN)/python -m pytest $(ARGS); fi; PYTEST="$(BIN)/python -m pytest" sh tests/rooms.sh

demo: $(VENV)/.test  ## kill -9 the server three times in the middle of answers and count what was lost
	@$(BIN)/python examples/librarian/demo.py $(ARGS)

lint: $(VENV)/.lint  ## style, types, and the floors' imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/basedpyright
	@PYTHONPATH=. $(BIN)/lint-imports

format: $(VENV)/.lint  ## let the formatter have its way
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

coverage: $(VENV)/.test  ## the test suite with branch coverage, room by room (ARGS as for test)
	@$(BIN)/python -m coverage erase
	@run="$(BIN)/python -m coverage run --parallel-mode -m pytest"; passed=0; \
	if [ -n "$(ARGS)" ]; then $$run $(ARGS) || passed=1; \
	else PYTEST="$$run" sh tests/rooms.sh || passed=1; fi; \
	$(BIN)/python -m coverage combine --quiet && $(BIN)/python -m coverage report || exit 1; \
	if [ -z "$(ARGS)" ]; then $(BIN)/python -m coverage json --quiet -o - | $(BIN)/python tests/coverage_floors.py || passed=1; fi; \
	exit $$passed

bench: $(VENV)/.bench  ## the benchmark harness (ARGS='kernel --peers pykka'; a quick run if absent)
	@$(BIN)/understudy bench $(or $(ARGS),--quick)

bench-check: $(VENV)/.bench  ## compare a quick run's ratios with the committed ones (informative)
	@$(BIN)/understudy bench check $(ARGS)

test-pykka: $(VENV)/.test  ## run Pykka's own test suite against understudy's classes
	@$(BIN)/python tests/pykka_suite.py $(ARGS)

clean:  ## remove the virtual environment and caches (never the data)
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
