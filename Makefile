# Needs only make and a Python with venv: every target sets up what it needs. `make` lists the targets.

PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 9021

BIN := $(VENV)/bin
SOURCES := $(shell find ftransfer -name '*.py')
GATES := tests/unit/test_layering.py tests/unit/test_style.py
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Two test processes for each core, because many tests wait.
WORKERS = -n $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1))') --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help serve test check layering coverage soak proofs fuzz faults format format-check lint \
    types live bench clean

# A target is listed if a text follows its prerequisites after two number signs.
help:  ## List these targets
	@echo 'usage: make TARGET; the first run sets up $(VENV)'
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / { printf "  make %-12s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(VENV)/.installed $(VENV)/.compiled  ## Serve sample_share/ until Ctrl-C (HOST, PORT)
	@exec $(BIN)/ftransfer serve sample_share --host $(HOST) --port $(PORT)

# Pytest's summary is the last line printed.
test: $(VENV)/.installed-dev $(VENV)/.compiled  ## Run all tests (ARGS for pytest, as ARGS='-n 0 -k tls')
	@$(BIN)/python -m pytest $(WORKERS) $(ARGS)

check: format-check lint types layering test  ## Run all that must pass before a change is merged

# The rules of style and structure that a program can check, in seconds.
layering: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -q $(GATES)

# The processes that tests start (most of the command line) are not counted.
coverage: $(VENV)/.installed-dev $(VENV)/.compiled  ## Measure branch coverage of the unit and e2e tests
	@$(BIN)/python -m pytest $(WORKERS) --cov --cov-report=term:skip-covered $(ARGS) tests/unit tests/e2e

# An honest client beside three thousand hostile connections, and beside sessions that ask for each
# verb at its worst. Needs an otherwise idle machine.
soak: $(VENV)/.installed-dev $(VENV)/.compiled  ## Measure what a hostile crowd costs others (6 min); updates docs/security.md
	@$(BIN)/python -m pytest tests/fault/test_crowd.py -m long $(ARGS)
	@$(BIN)/python -m tests.fault.soak --write docs/security.md

proofs: $(VENV)/.installed-dev $(VENV)/.compiled  ## Try to escape from a share, the long form (10 min)
	@$(BIN)/python -m pytest tests/proofs -m long $(ARGS)

# An input that breaks a target is kept in fuzz/found.
fuzz: $(VENV)/.installed-fuzz  ## Fuzz each of TARGETS (default: all) for FUZZ_SECONDS (60)
	@$(BIN)/python -m fuzz.run $(TARGETS)

# As root, power cuts as well.
faults: $(VENV)/.installed-dev $(VENV)/.compiled  ## Kill, cut, stall and flip, thousands of times (10 min); updates docs/reliability.md
	@$(BIN)/python -m tests.fault.matrix --write docs/reliability.md $(ARGS)

format: $(VENV)/.installed-dev  ## Format the code and apply safe lint fixes
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

format-check: $(VENV)/.installed-dev
	@$(BIN)/ruff format --check .

lint: $(VENV)/.installed-dev  ## Lint with ruff
	@$(BIN)/ruff check .

types: $(VENV)/.installed-dev  ## Check types with mypy --strict
	@$(BIN)/mypy

live: $(VENV)/.installed $(VENV)/.compiled  ## Measure the live layer with 200 listeners (90 s; QUICK=1: 30 s)
	@$(BIN)/python -m bench.live $(if $(QUICK),--quick)

bench: $(VENV)/.installed-bench $(VENV)/.compiled  ## Compare with rsync, nginx, FTP, scp ... (30 min; QUICK=1: 2 min)
	@$(BIN)/python -m bench.run $(if $(QUICK),--quick) $(ARGS)

clean:  ## Remove .venv and build results
	rm -rf $(VENV) build dist *.egg-info

# Refuse a Python that is too old, and rebuild a .venv that was made with one.
IS_NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
ifneq ($(wildcard $(BIN)/python),)
ifneq ($(shell $(BIN)/python $(IS_NEW_ENOUGH) && echo yes),yes)
.PHONY: $(BIN)/python
endif
endif

$(BIN)/python:
	@$(PYTHON) $(IS_NEW_ENOUGH) || { \
	    echo "ftransfer needs Python 3.11 or later; this is $$($(PYTHON) --version 2>&1); choose another with make PYTHON=python3.12" >&2; exit 1; }
	@echo 'setting up $(VENV) (about half a minute)' >&2
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)

# Stamps: packages are installed again only when pyproject.toml has changed.

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo 'installing ftransfer and its dependencies into $(VENV)' >&2
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo 'installing ftransfer and its development tools into $(VENV)' >&2
	@$(INSTALL) --editable '.[dev]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-fuzz: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable '.[fuzz]'
	@touch $@

$(VENV)/.installed-bench: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable '.[bench]'
	@touch $@

# Compile once, as an installation does. Where PYTHONDONTWRITEBYTECODE is set, every start would
# otherwise compile all modules again, half of its time.
$(VENV)/.compiled: $(SOURCES) | $(BIN)/python
	@$(BIN)/python -m compileall -q ftransfer
	@touch $@
