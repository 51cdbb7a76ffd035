# Every target installs what it needs. You need Python 3.11 or newer and make.
# `make help` lists the targets.
#   PYTHON=python3.13 VENV=.venv-3.13 make test    use another Python, with its own environment
#   ARGS="-k stock -x" make test                   pass more arguments to pytest or the soak

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
# The number of test processes (test, slow, faults, outside, fuzz). Each starts its own servers. Three on two
# cores, because many tests wait for other processes. `ARGS=--pdb` needs WORKERS=0.
WORKERS ?= 3
# The number of generated requests for each operation and role (make fuzz).
EXAMPLES ?= 300
# The number of orders and faults, and the seed (make chaos).
ORDERS ?= 10000
KILLS ?= 500
FLUSHALLS ?= 20
SEED ?= 1

# The tests of all targets but those of their own name.
OTHERS := not faults and not outside and not browser and not package

RUN := $(VENV)/bin/python -m
INSTALL := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed

.DEFAULT_GOAL := help
.PHONY: help demo run test slow chaos faults outside further package browser bench outage fuzz schema reference imports lint format lock sbom advisories model clean distclean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r target does; do \
		printf '  make %-10s %s\n' "$$target" "$$does"; done

demo: $(RUNTIME) ## Start the whole system, place 200 orders, kill a worker, check all invariants
	@$(RUN) tools.local demo

run: $(RUNTIME) ## Start the whole system and run it until Ctrl-C
	@$(RUN) tools.local run

test: $(DEVELOPMENT) ## Run all tests except slow, faults, outside, browser and package
	@$(RUN) pytest -n $(WORKERS) --dist worksteal -m "not slow and $(OTHERS)" $(ARGS)

slow: $(DEVELOPMENT) ## Run the tests that take long: each role at each page, large tables, refused starts, slow clients
	@$(RUN) pytest -n $(WORKERS) --dist worksteal -m "slow and $(OTHERS)" $(ARGS)

faults: $(DEVELOPMENT) ## Test that orders survive a kill, freeze or error at every point of every step
	@$(RUN) pytest -n $(WORKERS) --dist worksteal -m faults $(ARGS)

further: $(DEVELOPMENT) ## Test a copy of the project to which the README has added a service
	@$(RUN) tests.added_service --test -n $(WORKERS) --dist worksteal $(ARGS)

browser: $(DEVELOPMENT) ## Test the console in Chromium; SCREENSHOTS=docs/images saves screenshots
	@$(RUN) pytest -m browser $(ARGS)

package: $(DEVELOPMENT) ## Build the wheel of the engine into dist/, and test it in an environment of its own
	@$(RUN) tools.package $(ARGS)

outside: $(DEVELOPMENT) ## Test failures of broker and databases, and broken messages
	@$(RUN) pytest -n $(WORKERS) --dist worksteal -m outside $(ARGS)

chaos: $(RUNTIME) ## Kill processes, break and deploy releases under load, then check all orders: ORDERS= KILLS= FLUSHALLS= SEED=
	@$(RUN) tools.chaos --orders $(ORDERS) --kills $(KILLS) --flushalls $(FLUSHALLS) --seed $(SEED) $(ARGS)

imports: $(DEVELOPMENT) ## Generate docs/images/imports.svg from the imports of the engine
	@$(RUN) tools.import_map

schema: $(RUNTIME) ## Generate docs/openapi.yaml and docs/errors.md from the code
	@$(RUN) tools.local exec -- $(VENV)/bin/python manage.py describe_api
	@$(RUN) tools.local exec -- $(VENV)/bin/python manage.py upgrade_check --write-baseline

reference: $(RUNTIME) ## Generate docs/reference.md from the docstrings of the engine
	@$(RUN) tools.local exec -- $(VENV)/bin/python -m tools.reference

fuzz: $(DEVELOPMENT) ## Generate many requests from the API schema and check all answers: EXAMPLES=
	@FUZZ_EXAMPLES=$(EXAMPLES) $(RUN) pytest -n $(WORKERS) --dist worksteal tests/fuzz --timeout 3600 $(ARGS)

bench: $(RUNTIME) ## Measure throughput, latency and CPU, beside baselines and beside slow payment providers
	@$(RUN) tools.benchmarks $(ARGS)

outage: $(RUNTIME) ## Let the payment provider hang, fail and recover while orders come, as a drill
	@$(RUN) tools.benchmarks.outage $(ARGS)

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
	@for requirements in requirements requirements-local requirements-otel requirements-dev; do \
		$(VENV)-lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
			--custom-compile-command "make lock" $$requirements.in --output-file $$requirements.txt || exit 1; done

sbom: $(DEVELOPMENT) ## Write sbom.json: what production installs, as CycloneDX
	@$(RUN) tools.supply sbom

advisories: $(DEVELOPMENT) ## Look up known weaknesses of the packages that production installs
	@$(RUN) tools.supply advisories $(ARGS)

model: ## Check the saga protocol with SPIN, and show what fails without each protection
	@$(PYTHON) docs/model/run.py

clean: ## Remove all data of the embedded servers and all caches
	@$(PYTHON) -m tools.local.clean
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean ## Like clean, and remove the virtual environments
	@rm -rf .venv .venv-* $(VENV)

$(RUNTIME): requirements.txt requirements-local.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "$(PYTHON) is missing or older than Python 3.11. Run: make $(MAKECMDGOALS) PYTHON=python3.13" >&2; \
		exit 1; }
	@echo "Installing the packages of the service and of the local set-up into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) -r requirements.txt -r requirements-local.txt
	@touch $@

$(DEVELOPMENT): $(RUNTIME) requirements-dev.txt
	@echo "Installing the packages for tests and linters into $(VENV)"
	@$(INSTALL) -r requirements.txt -r requirements-dev.txt
	@touch $@
