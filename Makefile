# Needs only make and a Python with venv. `make serve` and `make test` do all the set-up themselves.

PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 9021

BIN := $(VENV)/bin
SOURCES := $(shell find ftransfer -name '*.py')
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: serve test soak check proofs fuzz format format-check lint types faults live bench clean

# Serves the sample folder until Ctrl-C.
serve: $(VENV)/.installed $(VENV)/.compiled
	@exec $(BIN)/ftransfer serve sample_share --host $(HOST) --port $(PORT)

# The whole test suite, in two processes for each core, since many tests wait (ARGS='-n 0' for one process); arguments for pytest go
# into ARGS. Pytest's summary is the last thing printed.
test: $(VENV)/.installed-dev $(VENV)/.compiled
	@$(BIN)/python -m pytest -n $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1))') --dist worksteal $(ARGS)

# An honest client among three thousand connections that mean no good, and beside sessions that ask for each verb at its worst: six
# minutes on a machine with nothing else to do, with figures, which go into the document.
soak: $(VENV)/.installed-dev $(VENV)/.compiled
	@$(BIN)/python -m pytest tests/fault/test_crowd.py -m long $(ARGS)
	@$(BIN)/python -m tests.fault.soak --write docs/security.md

# All that has to hold before a change goes in.
check: format-check lint types test

# The long form of the proofs that nothing outside a share is reached: about ten minutes; docs/security.md says what it showed.
proofs: $(VENV)/.installed-dev $(VENV)/.compiled
	@$(BIN)/python -m pytest tests/proofs -m long $(ARGS)

# Bytes that nobody has thought of, FUZZ_SECONDS (60) for each of the TARGETS (all). What breaks one is left in fuzz/found.
fuzz: $(VENV)/.installed-fuzz
	@$(BIN)/python -m fuzz.run $(TARGETS)

format: $(VENV)/.installed-dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

format-check: $(VENV)/.installed-dev
	@$(BIN)/ruff format --check .

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check .

types: $(VENV)/.installed-dev
	@$(BIN)/mypy

# Everything that can go wrong, thousands of times: about ten minutes, the power cuts as root; writes its table into the document.
faults: $(VENV)/.installed-dev $(VENV)/.compiled
	@$(BIN)/python -m tests.fault.matrix --write docs/reliability.md $(ARGS)

# The live layer with 200 listeners, measured against its bounds: a minute and a half, or half a minute with QUICK=1.
live: $(VENV)/.installed $(VENV)/.compiled
	@$(BIN)/python -m bench.live $(if $(QUICK),--quick)

# ftransfer beside other tools: about half an hour, or two minutes with QUICK=1; ARGS for the rest, see docs/performance.md.
bench: $(VENV)/.installed-bench $(VENV)/.compiled
	@$(BIN)/python -m bench.run $(if $(QUICK),--quick) $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info

# A Python that is too old is told at once, and a .venv that one has made is made again.
IS_NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
ifneq ($(wildcard $(BIN)/python),)
ifneq ($(shell $(BIN)/python $(IS_NEW_ENOUGH) && echo yes),yes)
.PHONY: $(BIN)/python
endif
endif

$(BIN)/python:
	@$(PYTHON) $(IS_NEW_ENOUGH) || { \
	    echo "Python 3.11 or later is needed; this is $$($(PYTHON) --version 2>&1); make PYTHON=python3.12 takes another one" >&2; exit 1; }
	@echo 'setting up $(VENV), about half a minute' >&2
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)

# Stamps: a second run installs again only if pyproject.toml has changed.

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo 'installing ftransfer and what it needs into $(VENV)' >&2
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo 'installing ftransfer and what its tests need into $(VENV)' >&2
	@$(INSTALL) --editable '.[dev]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-fuzz: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable '.[fuzz]'
	@touch $@

$(VENV)/.installed-bench: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable '.[bench]'
	@touch $@

# As an installed program has it. Where PYTHONDONTWRITEBYTECODE is set, each start would compile everything again: half of its time.
$(VENV)/.compiled: $(SOURCES) | $(BIN)/python
	@$(BIN)/python -m compileall -q ftransfer
	@touch $@
