# Every target does the set-up it needs: Python >= 3.11 and make are enough.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/pytest -q
STATE ?= .local
TARGET ?= local
# What to deploy to AWS
DEPLOYMENT ?= deployments/dev.toml
OUT ?= out

.DEFAULT_GOAL := help
.PHONY: help dev run up down test unit contract integration infra e2e chaos test-long check client format bench bench-worker bench-live load soak simulate cost synth docs clean

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

dev: .venv/.complete ## Set up the environment in .venv

.venv/.complete: pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; choose one with make PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv sync --quiet --frozen --inexact --all-extras
	@touch $@

# --- the whole service on this machine ---------------------------------------------------------------

run: dev ## Start everything, run one job, save its picture under out/, stop everything
	@$(BIN)/python -m localcloud run --out $(OUT)

up: dev ## Start everything in the background (COMFYUI_URL=, WORKERS=, PORT=; TARGET=localstack; TARGET=aws DEPLOYMENT=)
	@$(BIN)/python -m localcloud up --state $(STATE) --target $(TARGET) --deployment $(DEPLOYMENT)

down: dev ## Stop what `make up` has started
	@$(BIN)/python -m localcloud down --state $(STATE) --target $(TARGET)

# --- tests -------------------------------------------------------------------------------------------

test: dev ## Run every test tier, as CI does
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target near far

# The tiers of one process share this machine with the tiers that start a cloud, which mostly wait.
.PHONY: near far
near:
	$(PYTEST) -n 2 --dist loadgroup tests/unit tests/contract tests/integration tests/infra
far:
	$(PYTEST) tests/e2e tests/chaos

test-long: dev ## What is long and seldom changes its answer: full crowds, fuzz, every permission, chaos of 500, load
	$(PYTEST) --long tests/e2e
	CHAOS_JOBS=500 $(PYTEST) -s -p no:logging tests/chaos
	@$(BIN)/python -m bench.load

unit: dev ## Values, use cases and the client; touches nothing
	$(PYTEST) tests/unit

contract: dev ## One body of tests for every adapter of a port; the simulator against recordings
	$(PYTEST) tests/contract

integration: dev ## One process with what is right beside it
	$(PYTEST) tests/integration

infra: dev ## The synthesised templates
	$(PYTEST) tests/infra

e2e: dev ## The deployed service, by its public surfaces only
	$(PYTEST) tests/e2e

chaos: dev ## Workers, engines, tickets and stores fail at random: 500 jobs (CHAOS_JOBS=, CHAOS_SEED=)
	CHAOS_JOBS=$${CHAOS_JOBS:-500} $(PYTEST) -s -p no:logging tests/chaos

bench: dev ## Every figure of the running service beside its goal and the kept result (COMFYUI_URL=, BENCH=options)
	@$(BIN)/python -m bench $(BENCH)

bench-worker: dev ## Whether the GPU is ever idle, and what crashes cost (COMFYUI_URL=, BENCH=options)
	@$(BIN)/python -m bench.worker $(BENCH)

bench-live: dev ## How long progress and the end of a job take to a client (COMFYUI_URL=, BENCH=options)
	@$(BIN)/python -m bench.live $(BENCH)

load: dev ## 50 users post a job a second for 5 minutes (LOAD_USERS=, LOAD_MINUTES=)
	@$(BIN)/python -m bench.load

soak: dev ## Mixed traffic with cancels and kills; memory stays flat, the audit finds nothing (SOAK_MINUTES=60)
	@$(BIN)/python -m bench.soak

simulate: dev ## The scaler and three usual policies through simulated days; writes docs/scaling.md
	@$(BIN)/python -m bench.simulation

cost: dev ## Count the AWS calls of a job, times the price list; writes docs/cost.md
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench.cost

check: dev ## Format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

client: dev ## Write the blocking client (comfyline/client/blocking) from the asyncio client
	@$(BIN)/python -m tools.blocking_client

format: dev ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# --- AWS ---------------------------------------------------------------------------------------------

synth: dev ## Write the AWS templates of DEPLOYMENT to cdk.out/; needs neither an account nor an image
	@PATH="$(CURDIR)/$(BIN):$$PATH" npx --yes aws-cdk@2.1148.1 synth --quiet -c deployment=$(DEPLOYMENT)

docs: dev ## Write the parts of docs/ that are made from the code (RELEASE=1: the contract's baseline too)
	@$(BIN)/python -m infra.choices
	@$(BIN)/python -m tools.contract_documents $(if $(RELEASE),--release)

clean: down ## Remove what was built; the next target builds it again
	rm -rf .venv .cache .local cdk.out out .mypy_cache .pytest_cache .ruff_cache
