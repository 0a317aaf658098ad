# `make` alone lists the verbs. Needs Python 3.11 or newer and make; everything else is installed into .venv.

PYTHON ?=
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help run test check prove bench fmt clean run-environment dev-environment

BIN := .venv/bin
NEW_ENOUGH := sys.exit(sys.version_info < (3, 11))

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile

run: run-environment ## Start everything here, with a demo organization (PORT, HOST and DATA_DIR change where)
	@exec $(BIN)/python -m launch --with-parent

test: dev-environment ## Run the tests, without the long ones (ARGS="-k passcode" picks some)
	@$(BIN)/python -m pytest -q -m "not prove" -n 4 --dist loadfile $(ARGS)

check: dev-environment ## Look at formatting, lint, types, import contracts, migrations, OpenAPI and texts
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -m "not prove" tests/test_architecture.py \
	  tests/models/test_migrations.py tests/api/test_openapi.py tests/api/test_texts.py

prove: dev-environment ## Run the long tests: faults, fleets, timing
	@$(BIN)/python -m pytest -q -m "prove and together" -n 4 --timeout=3000 $(ARGS) $(or-none-picked)
	@$(BIN)/python -m pytest -q -m "prove and not together" -n 2 --timeout=3000 tests/faults $(ARGS) $(or-none-picked)
	@$(BIN)/python -m pytest -q -m "prove and not together" --timeout=3000 --ignore=tests/faults $(ARGS) $(or-none-picked)

bench: dev-environment ## Measure, each figure beside its floor
	@$(BIN)/python -m bench $(ARGS)

fmt: dev-environment ## Format the code and repair what can be repaired by machine
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove the environment and all caches; .data stays
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Who picks some may pick none of one part; without a pick, none is a failure.
or-none-picked = $(if $(ARGS),|| test $$? -eq 5)

# The locks hold hashes and name no host. An environment that was made from the lock as it stands is left as it is:
# the copy of the lock inside it is the stamp. What development needs includes what running needs.
run-environment:
	@cmp -s requirements.lock .venv/made-from/requirements.lock || $(MAKE) install LOCK=requirements.lock STAMPS=requirements.lock

dev-environment:
	@cmp -s requirements-dev.lock .venv/made-from/requirements-dev.lock \
	  || $(MAKE) install LOCK=requirements-dev.lock STAMPS="requirements.lock requirements-dev.lock"

.PHONY: install
install:
	@set -e; \
	if ! $(BIN)/python -c 'import pip, sys; $(NEW_ENOUGH)' 2>/dev/null; then \
	  $(find-python); \
	  "$$python" -m venv --clear .venv; \
	fi; \
	echo "Installing what $(LOCK) lists into .venv, once"; \
	rm -rf .venv/made-from; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(LOCK); \
	mkdir -p .venv/made-from; \
	cp $(STAMPS) .venv/made-from/

# The newest Pythons may lack wheels that the lock names: they come last.
define find-python
python=; \
for candidate in $(PYTHON) $(if $(PYTHON),,python3.13 python3.12 python3.11 python3.14 python3 python); do \
  if "$$candidate" -c 'import ensurepip, sys, venv; $(NEW_ENOUGH)' 2>/dev/null; then python=$$candidate; break; fi; \
done; \
if [ -z "$$python" ]; then \
  echo "Latchkey needs Python 3.11 or newer with its venv module (Debian keeps that in python3-venv)." >&2; \
  echo "$(if $(PYTHON),PYTHON=$(PYTHON) is not that,None was found). Install one, or name it: PYTHON=/path/to/python3 make run" >&2; \
  exit 1; \
fi
endef
