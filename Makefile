# `make quickstart` and `make test` need nothing but Python 3.11+ and make.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OLDEST := .venv-oldest/bin
UV_HTTP_TIMEOUT ?= 300
export UV_HTTP_TIMEOUT

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-all test-oldest lint format docs bench clean

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(STAMP)  ## Make .venv and install the tested set of packages

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "dynaloss needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --group dev --editable .
	@touch $@

quickstart: $(STAMP)  ## Run the quickstart ablation (84 trials), then compare its arms
	$(BIN)/dynaloss ablate quickstart
	$(BIN)/dynaloss compare quickstart

PYTEST := OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest --numprocesses 3 --dist loadgroup

test: lint  ## Lint, check the import contracts and run the tests but the slow ones
	$(PYTEST) -m "not slow"

test-all: lint  ## The same with the slow tests, as CI runs it
	$(PYTEST)

# The recorded results are those of the tested set, and older packages warn of newer ones.
test-oldest:  ## The faster tests with the oldest versions that pyproject.toml allows
	@test -x $(OLDEST)/python || $(PYTHON) -m venv .venv-oldest
	$(OLDEST)/python -m pip install --quiet --disable-pip-version-check uv
	$(OLDEST)/uv pip install --quiet --python $(OLDEST)/python --resolution lowest-direct --group dev --editable .
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(OLDEST)/python -m pytest --numprocesses 3 --dist loadgroup \
		-m "not slow and not ray" -o filterwarnings=default -p no:cacheprovider \
		--deselect tests/golden/test_results_version.py::test_recorded_results_hold --ignore tests/test_site.py

lint: $(STAMP)  ## Lint, check types and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)  ## Build the documentation as a site, in dist/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "open dist/site/index.html"

bench: $(STAMP)  ## Run the benchmarks on this machine, but those that need data or trials
	for name in bulk_store compare_scale meta_step own_loop search simulated_tables; do $(BIN)/python benchmarks/$$name.py || exit 1; done

clean:  ## Remove the environment and the caches, never the results
	rm -rf $(VENV) .venv-oldest .pytest_cache .ruff_cache .mypy_cache .hypothesis dist
