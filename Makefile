# `make demo` and `make test` need only Python 3.11 or newer and make; they build .venv themselves.
# A running virtual environment or another Python can be chosen: make PYTHON=python3.13 test

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench docs schemas clean

help:  ## Show what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[all]'
	@touch $@

$(VENV)/developing: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/installed

demo: $(VENV)/installed  ## Price jobs, run a book for a month, and leave the month's files in build/demo
	rm -rf build/demo
	$(BIN)/kling-ledger demo --into build/demo

test: $(VENV)/developing  ## Run the tests
	$(BIN)/python -m pytest -n auto

check: $(VENV)/developing  ## Format, lint, types, import rules, stale files, docs examples
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m pytest -n 0 tests/test_docs.py

format: $(VENV)/developing  ## Format the code and sort its imports
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .

bench: $(VENV)/developing  ## Measure the speed; every benchmark checks its answer first
	$(BIN)/python -m pytest -n 0 benchmarks --benchmark-only --benchmark-columns=min,median,max,rounds

docs: $(VENV)/developing  ## Build the documentation into site/, with the generated pages made anew
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --strict --quiet -f docs/mkdocs.yml

clean:  ## Remove what was made
	rm -rf $(VENV) site dist build .mypy_cache .ruff_cache .benchmarks .hypothesis
