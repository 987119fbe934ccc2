# Sagacity. `make help` lists the targets; `make check` is what CI runs.

PYTHON ?= $(shell python3.11 -c 'pass' 2>/dev/null && echo python3.11 || echo python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.sagacity-ready
FLOOR  := 90
# Branch coverage is gated over rules, store and runtime; the edges are judged by what they print.
GATED  := */sagacity/runtime/*,*/sagacity/store/*,*/sagacity/definition*,*/sagacity/decide*,*/sagacity/lifecycle*,*/sagacity/retry*,*/sagacity/codec*,*/sagacity/config*,*/sagacity/telemetry*,*/sagacity/chain*,*/sagacity/fold*,*/sagacity/table*

SUITE  := $(BIN)/python -m pytest -n 2 --dist worksteal

ORDERS ?=
STORE  ?=
WORKERS ?=
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: demo demo-stop bench bench-smoke chaos chaos-bugs chaos-long help setup fmt lint types layers test test-pg coverage docs build wheel check lock run services

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with the locked dependencies and this project; nothing to do the second time

$(READY): requirements/dev.txt pyproject.toml
	@echo "== setting up $(VENV) (once, about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sagacity needs Python 3.11: make setup PYTHON=/path/to/python3.11")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || tools/steady "making the virtual environment" $(PYTHON) -m venv --clear $(VENV)
	@tools/steady "installing the dependencies" $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/dev.txt
	@tools/steady "installing the project" $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation -e .
	@touch $@
	@echo "== ready"

fmt: setup ## format the code and mend what can be mended
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

lint: setup ## formatting and lint rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup ## mypy, strict
	@tools/steady "mypy" $(BIN)/mypy

layers: setup ## imports point down only
	$(BIN)/lint-imports

# Tracing makes a simulation three times as long, and what it runs is covered by the tests of each part.
test: setup ## all tests, PostgreSQL included; make test ARGS="tests/unit -k chain" runs some
	@rm -f .coverage .coverage.*
ifeq ($(strip $(ARGS)),)
	$(SUITE) --cov --cov-report= -m "not simulation"
	$(SUITE) -m simulation
else
	$(SUITE) --cov --cov-report= $(ARGS)
endif

test-pg: setup ## only the tests that need PostgreSQL
	$(SUITE) -m postgres $(ARGS)

coverage: ## branch coverage of the last `make test`, with its floor
	$(BIN)/coverage report --include='$(GATED)' --fail-under=$(FLOOR)

docs: setup ## run every page: README and docs/
	$(SUITE) tests/docs $(ARGS)

build: setup ## build the wheel into dist/
	@rm -rf dist
	@tools/steady "building" $(BIN)/python -m hatchling build -t wheel

wheel: build ## build the wheel into dist/ and judge what is in it
	$(BIN)/python -m pytest tests/packaging $(ARGS)

# The pages and the wheel's contents are judged by tests/docs and tests/packaging, so by `test`: once.
check: ## what CI runs: lint, types, layers, all tests (docs and packaging too) with coverage, a short benchmark, the wheel
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory types
	@$(MAKE) --no-print-directory layers
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory coverage
	@$(MAKE) --no-print-directory bench-smoke
	@$(MAKE) --no-print-directory build

chaos: setup ## the short form of every test of reliability (under 25 minutes): make chaos [SEED=7]
	@$(BIN)/python -u -m tests.chaos all --short --seed $(or $(SEED),7)

chaos-bugs: setup ## the test of the tests: plant 40 bugs, one at a time, and see who finds each
	@$(BIN)/python -u -m tests.chaos T31

chaos-long: setup ## the night's form, in four parts of under 80 minutes: make chaos-long PART=1 [SEED=7]
	@$(BIN)/python -u -m tests.chaos all --long --seeds $(or $(PART),1) --seed $(or $(SEED),7)

bench: setup ## measure us beside the peers, which it installs below .sagacity/bench (under 25 minutes): make bench [ARGS="--only A,B"]
	@$(BIN)/python -u -m benchmarks $(ARGS)

bench-smoke: setup ## the benchmark in under a minute, without peers: that it works, not how fast
	@$(BIN)/python -u -m benchmarks --smoke $(ARGS)

lock: setup ## compile requirements/dev.txt anew from pyproject.toml
	@tools/steady "resolving" $(BIN)/python tools/lock.py

run: setup ## run the orders as sagas: make run [ORDERS=FILE] [STORE=postgres|URL] [WORKERS=N]
	@$(BIN)/python -m sagas.run $(if $(ORDERS),--orders "$(ORDERS)") $(if $(STORE),--store "$(STORE)") $(if $(WORKERS),--workers "$(WORKERS)") $(ARGS)

demo: setup ## a sample that needs a human, with worker and console in the background: make demo [STORE=postgres]
	@$(BIN)/python -m sagas.demo start $(if $(STORE),--store "$(STORE)") $(ARGS)

demo-stop: setup ## end what `make demo` has started, and nothing else
	@$(BIN)/python -m sagas.demo stop

services: setup ## keep the outside services up: make services [ORDERS=FILE] [STORE=postgres|URL]
	@$(BIN)/python -m sagas.run --services-only $(if $(ORDERS),--orders "$(ORDERS)") $(if $(STORE),--store "$(STORE)")
