# Every command, from a machine that has only Python 3.11+ with venv, make and git.  `make help` lists them.

SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
PY := $(VENV)/bin/python
# End-to-end tests mostly wait; each process has servers of its own.
TESTS_AT_ONCE ?= 2
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes

.PHONY: help demo test up down restart status logs check format bench soak lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## set everything up, import a sample CSV, show what happened
	@$(PY) -m stack up
	@$(PY) -m stack demo

test: $(VENV)/.development ## every test, on private servers, in at most 20 minutes
	@$(PY) -m pytest --numprocesses $(TESTS_AT_ONCE) --dist loadfile $(ARGS)

up: $(VENV)/.runtime ## start the stack (again: nothing happens); var/stack.env then holds its settings
	@$(PY) -m stack up

down: $(VENV)/.runtime ## stop the stack, let running jobs finish; the data stays
	@$(PY) -m stack down

restart: $(VENV)/.runtime ## restart programs one after another, letting jobs finish (POOLS="imports email": only these)
	@$(PY) -m stack restart $(POOLS)

status: $(VENV)/.runtime ## what runs
	@$(PY) -m stack status

logs: $(VENV)/.runtime ## follow every log, until ^C
	@$(PY) -m stack logs

check: $(VENV)/.development ## formatter, linter, types, import contracts
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo

format: $(VENV)/.development ## have the formatter and the linter mend what they can
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

bench: $(VENV)/.development ## the benchmarks, each beside what it is compared to
	@$(PY) -m bench $(ARGS)

soak: $(VENV)/.development ## the long fault runs
	@$(PY) -m bench.soak $(ARGS)
	@$(PY) -m bench.images_soak
	@$(PY) -m bench.sync_converge
	@$(PY) -m bench.sync_soak
	@$(PY) -m bench.email_soak
	@$(PY) -m bench.bad_day

lock: ## renew requirements.txt and requirements-dev.txt, with hashes (UPGRADE=--upgrade: newest versions)
	@sh stack/lock.sh $(UPGRADE)

clean: ## remove what tools left behind; the stack's data in var/ stays
	@find . -name __pycache__ -not -path './.venv/*' -not -path './var/*' -prune -exec rm -rf {} +
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# -- the virtual environment --------------------------------------------------------------------------------------------
# A stamp for each set of packages: a second call installs nothing and costs nothing.  Stamped last, so that a set-up that
# was stopped in the middle starts over.

ifneq ($(shell $(PY) -c 'import pip; print("sound")' 2>/dev/null),sound)
# The Python behind it was removed, or it was never finished: its stamps mean nothing.
.PHONY: $(VENV)/.runtime $(VENV)/.development
endif

$(VENV)/.runtime: requirements.txt stack/venv.sh
	@sh stack/venv.sh $(VENV)
	@echo "installing the packages of $<"
	@$(PIP_INSTALL) -r $<
	@touch $@

$(VENV)/.development: requirements-dev.txt stack/venv.sh
	@sh stack/venv.sh $(VENV)
	@echo "installing the packages of $<"
	@$(PIP_INSTALL) -r $<
	@touch $@ $(VENV)/.runtime
