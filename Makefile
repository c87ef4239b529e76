# Needs Python >= 3.11 and nothing else; as root on Debian it fetches what Debian left out of it.

PYTHON ?= python3
PORT ?= 8077
DB ?= sqlite:///kaiju-tasks.db
# More than two cores can run: tests also wait.
WORKERS ?= 4
TESTS ?=
SEED ?=
SEEDS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check
# Before Python 3.12 measuring coverage doubles the tests' CPU time: there only `make cover` does it.
COVERAGE = $(shell $(BIN)/python -c 'import sys; print("COVERAGE_CORE=sysmon" * (sys.version_info >= (3, 12)))')
UNIT := tests/core tests/rpc
QUICK := tests/test_docs_links.py $(UNIT) tests/api tests/store tests/manager

.PHONY: help run test quick lint types imports checks postgres node browser pytest cover unit sim crash mutants chaos soak fuzz bench schemas console dist lock audit clean
.NOTPARALLEL:
.DEFAULT_GOAL := help

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile

run: $(VENV)/.run ## start a manager and the sample executor (PORT=8077 DB=sqlite:///...)
	@echo "run: kaiju-tasks on http://127.0.0.1:$(PORT) with $(firstword $(subst ://, ,$(DB)))"
	@exec $(BIN)/kaiju-tasks serve --executor kaiju_tasks.samples:executor \
		--port '$(PORT)' --db '$(DB)'

test: checks pytest ## the whole gate (WORKERS=4)

quick: lint types ## before each commit: ruff, mypy, the tests that need only SQLite (TESTS=)
	@echo "tests: pytest --quick"
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --quick $(or $(TESTS),$(QUICK))

# mypy takes as long as all the others, which wait for the network.
checks: $(VENV)/.dev
	@$(MAKE) --no-print-directory types > $(VENV)/types.log 2>&1 & types=$$!; \
		$(MAKE) --no-print-directory lint imports postgres node browser; others=$$?; \
		wait $$types; types=$$?; cat $(VENV)/types.log; exit $$((types || others))

lint: $(VENV)/.dev ## ruff
	@echo "lint: ruff"
	@$(BIN)/ruff check --quiet .

types: $(VENV)/.dev ## mypy --strict
	@echo "types: mypy"
	@$(BIN)/mypy --no-error-summary

imports: $(VENV)/.dev ## imports point one way
	@echo "imports: import-linter"
	@$(BIN)/lint-imports > $(VENV)/imports.log || { cat $(VENV)/imports.log; exit 1; }

postgres: $(VENV)/.dev
	@$(BIN)/python -m tests.support.postgres_binaries

node: $(VENV)/.dev
	@$(BIN)/python -m tests.support.node

browser: $(VENV)/.dev
	@$(BIN)/python -m tests.support.browser

pytest: $(VENV)/.dev
	@echo "tests: pytest"
	@$(COVERAGE) $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0 \
		--every-postgres $(if $(COVERAGE),--cov=kaiju_tasks --cov-report=) $(TESTS)
	@$(if $(COVERAGE),echo "coverage: $$($(BIN)/coverage report --format=total) %")

cover: $(VENV)/.dev ## which lines of the package the tests of make quick do not run (TESTS=)
	@$(BIN)/python -m pytest -q -n $(WORKERS) --quick --cov=kaiju_tasks \
		--cov-report=term-missing:skip-covered $(or $(TESTS),$(QUICK))

unit: $(VENV)/.dev ## the tests of the pure core alone
	@$(BIN)/python -m pytest -q $(UNIT)

sim: $(VENV)/.dev ## the seeded simulation (SEED=123 replays that one; SEEDS=0-5000 runs many)
	@$(if $(SEED),$(BIN)/python -m tests.simulation --trace --seeds '$(SEED)',$(if $(SEEDS),\
		$(BIN)/python -m tests.simulation --seeds '$(SEEDS)',\
		$(BIN)/python -m pytest -q tests/simulation))

crash: $(VENV)/.dev ## kill the manager at every statement, commit and frame
	@$(BIN)/python -m tests.simulation.crash_points

mutants: $(VENV)/.dev ## remove each guard of the package and see that a test fails
	@$(BIN)/python -m tests.mutants

chaos: $(VENV)/.dev ## real faults against real processes (MINUTES=5 RATE=2 SEED= STORE=sqlite)
	@$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),5) --db $(or $(STORE),postgres) \
		--rate $(or $(RATE),2) $(if $(SEED),--seed '$(SEED)')

soak: $(VENV)/.dev ## let managers and executors work for hours, and see that nothing grows (HOURS=1 STORE=sqlite)
	@$(BIN)/python -m tests.chaos.soak --hours $(or $(HOURS),1) --db $(or $(STORE),postgres) \
		$(if $(SEED),--seed '$(SEED)')

fuzz: $(VENV)/.dev ## hostile input for everything that reads what clients send (MINUTES=5 SEED=)
	@$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),5) $(if $(SEED),--seed '$(SEED)')

bench: $(VENV)/.run ## measure this machine beside the limit of its database (DB=)
	@$(BIN)/kaiju-tasks bench --db '$(DB)'

schemas: $(VENV)/.run ## write schemas/ from the types
	@$(BIN)/python -m kaiju_tasks.schemas --write

console: $(VENV)/.dev ## build the console from console/ into the package
	@echo "console: tsc, esbuild"
	@$(BIN)/python -m tests.console.build

dist: $(VENV)/.dev ## build wheel and sdist, install each in a fresh environment, and try it
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation > $(VENV)/build.log || { cat $(VENV)/build.log; exit 1; }
	@$(BIN)/python -m tests.dist dist

lock: $(VENV)/.made ## write requirements.lock: the versions that the gate installs
	@$(PYTHON) -m venv $(VENV)/tools && $(VENV)/tools/bin/pip --quiet install uv
	@$(VENV)/tools/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade \
		--no-header --no-annotate --quiet --output-file requirements.lock

audit: $(VENV)/.made ## look for known vulnerabilities of the locked versions (asks pypi.org)
	@$(PYTHON) -m venv $(VENV)/tools && $(VENV)/tools/bin/pip --quiet install pip-audit
	@$(VENV)/tools/bin/pip-audit --strict --requirement requirements.lock --no-deps --disable-pip

clean: ## remove the environment and what the tools left
	@rm -rf $(VENV) tests/node/node_modules console/node_modules build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "setup: needs Python 3.11 or newer; name one with PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
			echo "setup: apt-get install python3-venv"; \
			apt-get -qq update > /dev/null && \
			DEBIAN_FRONTEND=noninteractive apt-get -qq -y install python3-venv > /dev/null; \
		else \
			echo "setup: Python's venv is missing; as root: apt-get install python3-venv"; exit 1; \
		fi; }
	@echo "setup: $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: pyproject.toml | $(VENV)/.made
	@echo "setup: installing kaiju_tasks"
	@$(PIP) install --editable .
	@$(PIP) install --editable '.[fast]' || echo "setup: goes on without uvloop"
	@touch $@

$(VENV)/.dev: pyproject.toml requirements.lock | $(VENV)/.made
	@echo "setup: installing kaiju_tasks and what its tests need"
	@$(PIP) install --editable '.[dev]' --constraint requirements.lock
	@touch $@ $(VENV)/.run
