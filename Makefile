# Everything from nothing: needs Python 3.11 or newer and make. `make help` lists what there is.
#   PYTHON=python3.13 make test    another Python; give it a VENV of its own
#   ARGS="-k stock -x" make test   more arguments for pytest, or for the soak

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
# How many processes run the tests, each with servers of its own; 0 for this one alone, as `ARGS=--pdb` needs.
WORKERS ?= 2
# How many made-up requests for each operation and role.
EXAMPLES ?= 300
# How much chaos, and from which seed it is drawn.
ORDERS ?= 10000
KILLS ?= 500
FLUSHALLS ?= 20
SEED ?= 1

RUN := $(VENV)/bin/python -m
INSTALL := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed

.DEFAULT_GOAL := help
.PHONY: help demo run test chaos faults outside browser bench fuzz schema imports lint format lock model clean distclean

help: ## Say what each target does
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r target does; do \
		printf '  make %-10s %s\n' "$$target" "$$does"; done

demo: $(RUNTIME) ## Start the whole system, place 200 orders, kill a worker, check every invariant
	@$(RUN) tools.local demo

run: $(RUNTIME) ## Start the whole system and keep it up until Ctrl-C
	@$(RUN) tools.local run

test: $(DEVELOPMENT) ## Run all tests but the faults and the browser, on servers of their own
	@$(RUN) pytest -n $(WORKERS) --dist worksteal -m "not faults and not outside and not browser" $(ARGS)

faults: $(DEVELOPMENT) ## Kill, freeze and break real processes at every point of every step
	@$(RUN) pytest -m faults $(ARGS)

browser: $(DEVELOPMENT) ## Use the console in Chromium as an operator does; SCREENSHOTS=docs/images keeps pictures
	@$(RUN) pytest -m browser $(ARGS)

outside: $(DEVELOPMENT) ## Take broker and databases away in every way, and send messages that are broken
	@$(RUN) pytest -m outside $(ARGS)

chaos: $(RUNTIME) ## Kill every kind of process under load, then check every promise: ORDERS= KILLS= FLUSHALLS= SEED=
	@$(RUN) tools.chaos --orders $(ORDERS) --kills $(KILLS) --flushalls $(FLUSHALLS) --seed $(SEED) $(ARGS)

imports: $(DEVELOPMENT) ## Draw docs/images/imports.svg anew, from the imports of the engine
	@$(RUN) tools.import_map

schema: $(RUNTIME) ## Write docs/openapi.yaml and docs/errors.md anew, from the code
	@$(RUN) tools.local exec -- $(VENV)/bin/python manage.py describe_api

fuzz: $(DEVELOPMENT) ## Make up many requests from the API's description, and check every answer: EXAMPLES=
	@FUZZ_EXAMPLES=$(EXAMPLES) $(RUN) pytest -n $(WORKERS) --dist worksteal tests/fuzz --timeout 3600 $(ARGS)

bench: $(RUNTIME) ## Measure throughput, latency and CPU beside bare SQL and a naive chain, on servers of its own
	@$(RUN) tools.benchmarks $(ARGS)

lint: $(DEVELOPMENT) ## Check style, format, types, layers and known weaknesses
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(VENV)/bin/lint-imports --no-cache
	$(RUN) bandit --quiet --configfile pyproject.toml --recursive .

format: $(DEVELOPMENT) ## Rewrite what the linter can put right by itself
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

lock: ## Pin the newest versions that requirements*.in allow, with their hashes
	@$(PYTHON) -m venv $(VENV)-lock
	@$(VENV)-lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	@for requirements in requirements requirements-otel requirements-dev; do \
		$(VENV)-lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
			--custom-compile-command "make lock" $$requirements.in --output-file $$requirements.txt || exit 1; done

model: ## Check the protocol with the model checker SPIN, and what each protection in it is for
	@$(PYTHON) docs/model/run.py

clean: ## Remove the data of the embedded servers and every cache
	@$(PYTHON) -m tools.local.clean
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean ## Remove the virtual environments as well
	@rm -rf .venv .venv-* $(VENV)

$(RUNTIME): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "$(PYTHON) is missing or older than Python 3.11. Name a newer one: make $(MAKECMDGOALS) PYTHON=python3.13" >&2; \
		exit 1; }
	@echo "Installing what the service needs into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) -r requirements.txt
	@touch $@

$(DEVELOPMENT): $(RUNTIME) requirements-dev.txt
	@echo "Installing what the tests and linters need into $(VENV)"
	@$(INSTALL) -r requirements.txt -r requirements-dev.txt
	@touch $@
