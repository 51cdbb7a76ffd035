# Every target installs what it needs. You need Python 3.11 or newer and make.
# `make help` lists the targets.
#   PYTHON=python3.13 VENV=.venv-3.13 make test    use another Python, with its own environment
#   ARGS="-k stock -x" make test                   pass more arguments to pytest or the soak

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
# The number of test processes. Each starts its own servers. `ARGS=--pdb` needs WORKERS=0.
WORKERS ?= 2
# The number of generated requests for each operation and role (make fuzz).
EXAMPLES ?= 300
# The number of orders and faults, and the seed (make chaos).
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

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r target does; do \
		printf '  make %-10s %s\n' "$$target" "$$does"; done

demo: $(RUNTIME) ## Start the whole system, place 200 orders, kill a worker, check all invariants
	@$(RUN) tools.local demo

run: $(RUNTIME) ## Start the whole system and run it until Ctrl-C
	@$(RUN) tools.local run

test: $(DEVELOPMENT) ## Run all tests except faults, outside and browser
	@$(RUN) pytest -n $(WORKERS) --dist worksteal -m "not faults and not outside and not browser" $(ARGS)

faults: $(DEVELOPMENT) ## Test that orders survive a kill, freeze or error at every point of every step
	@$(RUN) pytest -m faults $(ARGS)

browser: $(DEVELOPMENT) ## Test the console in Chromium; SCREENSHOTS=docs/images saves screenshots
	@$(RUN) pytest -m browser $(ARGS)

outside: $(DEVELOPMENT) ## Test failures of broker and databases, and broken messages
	@$(RUN) pytest -m outside $(ARGS)

chaos: $(RUNTIME) ## Kill all kinds of processes under load, then check all orders: ORDERS= KILLS= FLUSHALLS= SEED=
	@$(RUN) tools.chaos --orders $(ORDERS) --kills $(KILLS) --flushalls $(FLUSHALLS) --seed $(SEED) $(ARGS)

imports: $(DEVELOPMENT) ## Generate docs/images/imports.svg from the imports of the engine
	@$(RUN) tools.import_map

schema: $(RUNTIME) ## Generate docs/openapi.yaml and docs/errors.md from the code
	@$(RUN) tools.local exec -- $(VENV)/bin/python manage.py describe_api

fuzz: $(DEVELOPMENT) ## Generate many requests from the API schema and check all answers: EXAMPLES=
	@FUZZ_EXAMPLES=$(EXAMPLES) $(RUN) pytest -n $(WORKERS) --dist worksteal tests/fuzz --timeout 3600 $(ARGS)

bench: $(RUNTIME) ## Measure throughput, latency and CPU, and compare with bare SQL and a naive chain
	@$(RUN) tools.benchmarks $(ARGS)

lint: $(DEVELOPMENT) ## Check style, format, types, imports, security and language
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(VENV)/bin/lint-imports --no-cache
	$(RUN) bandit --quiet --configfile pyproject.toml --recursive .
	$(RUN) tools.plain_english

format: $(DEVELOPMENT) ## Format the code and apply the linter's automatic fixes
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

lock: ## Pin the newest allowed versions of all requirements, with hashes
	@$(PYTHON) -m venv $(VENV)-lock
	@$(VENV)-lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	@for requirements in requirements requirements-otel requirements-dev; do \
		$(VENV)-lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
			--custom-compile-command "make lock" $$requirements.in --output-file $$requirements.txt || exit 1; done

model: ## Check the saga protocol with SPIN, and show what fails without each protection
	@$(PYTHON) docs/model/run.py

clean: ## Remove all data of the embedded servers and all caches
	@$(PYTHON) -m tools.local.clean
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean ## Like clean, and remove the virtual environments
	@rm -rf .venv .venv-* $(VENV)

$(RUNTIME): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "$(PYTHON) is missing or older than Python 3.11. Run: make $(MAKECMDGOALS) PYTHON=python3.13" >&2; \
		exit 1; }
	@echo "Installing the service's packages into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) -r requirements.txt
	@touch $@

$(DEVELOPMENT): $(RUNTIME) requirements-dev.txt
	@echo "Installing the packages for tests and linters into $(VENV)"
	@$(INSTALL) -r requirements.txt -r requirements-dev.txt
	@touch $@
