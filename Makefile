# One entry point for each habit. `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

help:            ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

install: $(STAMP) ## build .venv from the lock

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3,11) <= sys.version_info < (3,14) else f"tidebook needs Python 3.11 to 3.13, this is {sys.version.split()[0]}")'
	@echo "building $(VENV): half a minute or so"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --progress-bar on --require-hashes \
	  -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

up: $(STAMP)     ## a living market: everything on this machine, Ctrl-C stops it
	@$(BIN)/tidebook up

test: $(STAMP)   ## every test
	$(BIN)/pytest -n $$($(BIN)/python -c 'import os; print(min(4, os.cpu_count() + 1))') --dist loadfile

sim: $(STAMP)    ## the pipeline under faults in virtual time: SEED=n replays one, RUNS=1000 sweeps
	@$(BIN)/python -m tests.simulation --seed $(or $(SEED),0) --runs $(or $(RUNS),1)

lint: $(STAMP)   ## form, types and the arrows between the rooms
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)  ## throughput and latency, as ratios to a baseline of the same run
	$(BIN)/pytest -s -o python_files='bench_*.py' tests/benchmarks tests/devnet

screenshots: $(STAMP) ## the page, light and dark, into tests/browser/screenshots (needs chromium)
	@$(BIN)/python -m tests.browser.screenshots

format: $(STAMP) ## let ruff write
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock:            ## resolve pyproject.toml anew (needs uv; the lock names no index)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --extra dev pyproject.toml --output-file requirements.lock

.PHONY: help install up test sim lint bench screenshots format lock
