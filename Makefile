# Every target sets up what it needs: Python >= 3.11 and make are enough.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/pytest -q
STATE ?= .local
TARGET ?= local
# The deployment file of `synth`, and of `up` with TARGET=aws
DEPLOYMENT ?= deployments/dev.toml
OUT ?= out
TYPESCRIPT := clients/typescript
DOCUMENTS := tools/documents
SITE := out/site
# Node is part of the environment in .venv.
NPM = PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix $(TYPESCRIPT) --silent

.DEFAULT_GOAL := help
.PHONY: help dev run up down test unit contract integration scale infra e2e chaos console screenshots typescript test-long check client format sbom bench bench-test bench-worker bench-models bench-uploads bench-live load soak simulate cost synth image verify-aws docs site site-serve pictures clean

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

dev: .venv/.complete ## Set up the environment in .venv

.venv/.complete: pyproject.toml packaging/operator/pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; choose one with make PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv sync --quiet --frozen --inexact --all-extras
	@touch $@

# --- the whole service on this machine ---------------------------------------------------------------

run: dev ## Start everything, run one job, save its picture under out/, stop everything (OPEN=1: open the console, stop at Ctrl-C)
	@$(BIN)/python -m localcloud run --out $(OUT)

up: dev ## Start everything in the background (COMFYUI_URL=, WORKERS=, PORT=; TARGET=localstack; TARGET=aws DEPLOYMENT=)
	@$(BIN)/python -m localcloud up --state $(STATE) --target $(TARGET) --deployment $(DEPLOYMENT)

down: dev ## Stop everything that `make up` has started
	@$(BIN)/python -m localcloud down --state $(STATE) --target $(TARGET)

# --- tests -------------------------------------------------------------------------------------------

test: dev console $(TYPESCRIPT)/dist/index.js ## Run every test tier, like CI
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target near far

# The near tiers run beside e2e, which starts local clouds and mostly waits. Both take about as long.
.PHONY: near far
near:
	$(PYTEST) -n 2 --dist loadgroup tests/unit tests/contract tests/integration tests/infra
	$(PYTEST) tests/scale tests/chaos
	@$(MAKE) --no-print-directory typescript
far:
	$(PYTEST) tests/e2e

test-long: dev console ## Long tests whose result seldom changes: all crowds, fuzzing, every permission, checkov, chaos with 500 jobs, load
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target near-long far-long
	@$(BIN)/python -m bench.load

.PHONY: near-long far-long
near-long:
	$(PYTEST) --long -m long tests/unit tests/contract tests/integration tests/infra tests/scale
	CHAOS_JOBS=500 $(PYTEST) -s -p no:logging tests/chaos
far-long:
	$(PYTEST) --long -m long tests/e2e

unit: dev ## Test values, use cases and the client, without network and processes
	$(PYTEST) tests/unit

contract: dev ## Test all adapters of a port with the same tests, and the simulator against recordings
	$(PYTEST) tests/contract

integration: dev ## Test one process together with its direct neighbours
	$(PYTEST) tests/integration

scale: dev ## Test the use cases at AWS's pace, and print what was measured at which load
	$(PYTEST) tests/scale

infra: dev ## Test the synthesised templates and the deployment files
	$(PYTEST) tests/infra

e2e: dev ## Test the deployed service through its public interfaces
	$(PYTEST) tests/e2e

chaos: dev ## Run 500 jobs while workers, engines, queues and stores fail at random (CHAOS_JOBS=, CHAOS_SEED=)
	CHAOS_JOBS=$${CHAOS_JOBS:-500} $(PYTEST) -s -p no:logging tests/chaos

console: console/node_modules/.package-lock.json ## Build the web console, which `make up` serves at /console
	@$(BIN)/python -m infra.console

console/node_modules/.package-lock.json: console/package-lock.json | dev
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix console --silent ci

screenshots: dev ## Take the pictures of docs/console.md from the deployment of `make up`
	@$(BIN)/python -m tools.screenshots --state $(STATE)

typescript: console/node_modules/.package-lock.json $(TYPESCRIPT)/dist/index.js ## Build and test the TypeScript client, and check the console's format and types
	@$(NPM) test
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix console --silent test

$(TYPESCRIPT)/node_modules/.complete: $(TYPESCRIPT)/package-lock.json | dev
	@$(NPM) ci
	@touch $@

# --ignore-scripts, because one of the packages reports its installation to its maker.
$(DOCUMENTS)/node_modules/.complete: $(DOCUMENTS)/package-lock.json | dev
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix $(DOCUMENTS) --silent ci --ignore-scripts
	@touch $@

# Comfy's own client, which tests/e2e runs against Comfy API v2.
tests/e2e/comfy_sdk/node_modules/.complete: tests/e2e/comfy_sdk/package-lock.json | dev
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix tests/e2e/comfy_sdk --silent ci
	@touch $@

# Lighthouse, which only the long tests of the console run.
tests/e2e/lighthouse/node_modules/.complete: tests/e2e/lighthouse/package-lock.json | dev
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix tests/e2e/lighthouse --silent ci --ignore-scripts
	@touch $@

$(TYPESCRIPT)/dist/index.js: $(TYPESCRIPT)/node_modules/.complete $(shell find $(TYPESCRIPT)/src -name '*.ts')
	@$(NPM) run build

bench: dev ## Measure the running service, and compare with the goals and the kept results (COMFYUI_URL=, COMFY_PROXY=, BENCH=options)
	@$(BIN)/python -m bench $(BENCH)

bench-test: dev ## Test the arithmetic of the benchmarks, the simulation, and the pages that they write
	$(PYTEST) bench/tests

bench-worker: dev ## Measure how long the GPU is idle and how long a crash delays a job (COMFYUI_URL=, BENCH=options)
	@$(BIN)/python -m bench.worker $(BENCH)

bench-models: dev ## Measure how fast a worker fetches one large model (BENCH=options)
	@$(BIN)/python -m bench.models $(BENCH)

bench-uploads: dev ## Measure how fast a worker stores one large file (BENCH=options)
	@$(BIN)/python -m bench.uploads $(BENCH)

bench-live: dev ## Measure how fast progress and the end of a job reach a client (COMFYUI_URL=, BENCH=options)
	@$(BIN)/python -m bench.live $(BENCH)

load: dev ## Let 50 users post jobs for 5 minutes, with pauses of 1 to 3 s (LOAD_USERS=, LOAD_MINUTES=, LOAD_P99_MS=)
	@$(BIN)/python -m bench.load

soak: dev ## Run mixed traffic with cancels and kills, then check memory and audit the data (SOAK_MINUTES=60)
	@$(BIN)/python -m bench.soak

simulate: dev ## Simulate days of traffic with the scaler and three usual policies, and write docs/scaling.md
	@$(BIN)/python -m bench.simulation

cost: dev ## Count the AWS calls of a job, multiply by list prices, and write docs/cost.md
	@$(BIN)/python -m bench.cost

check: dev $(DOCUMENTS)/node_modules/.complete ## Check format, lint, types, import contracts, the contract's documents and the arithmetic of the benchmarks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix $(DOCUMENTS) --silent run lint
	$(PYTEST) bench/tests

sbom: dev ## Write what the wheels, the functions and the worker's image are made of (CycloneDX) to out/sbom (OUT=)
	@$(BIN)/python -m tools.sbom $(OUT)/sbom

client: dev ## Generate the blocking client (comfyline/client/blocking) from the asyncio client
	@$(BIN)/python -m tools.blocking_client

format: dev ## Format the code, and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# --- AWS ---------------------------------------------------------------------------------------------

synth: dev ## Write the AWS templates of DEPLOYMENT to cdk.out/; needs neither an account nor an image
	@PATH="$(CURDIR)/$(BIN):$$PATH" npx --yes aws-cdk@2.1148.1 synth --quiet -c deployment=$(DEPLOYMENT)

image: ## Build the worker's image for the GPU instances and push it to the stage's repository (STAGE=, TAG=, LOCK=, WARM_UP=)
	@tools/push_image.sh

verify-aws: dev ## Check a deployed stage for what no emulator shows (STAGE=, CHECKS="first-deploy first-job"; costs GPU minutes)
	@$(BIN)/python -m tools.verify_aws --stage $${STAGE:-dev} $(CHECKS)

docs: dev $(TYPESCRIPT)/node_modules/.complete ## Generate what is made from the code: parts of docs/, types of the TypeScript client (RELEASE=1: the contract's baseline too)
	@$(BIN)/python -m infra.choices
	@$(BIN)/python -m tools.unverified
	@$(BIN)/python -m tools.limits_page
	@$(BIN)/python -m tools.contract_documents $(if $(RELEASE),--release)
	@$(NPM) run generate
	@$(BIN)/python -m tools.reference_pages

site: dev $(DOCUMENTS)/node_modules/.complete ## Build docs/ as a site in out/site; needs no network
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir $(SITE)

site-serve: dev $(DOCUMENTS)/node_modules/.complete ## Show docs/ as a site on http://127.0.0.1:8000, and again after each change
	@$(BIN)/mkdocs serve

pictures: site ## Draw docs/images/ anew from the service that runs, and the site (STATE=; needs chromium)
	@$(BIN)/python -m tools.screens --endpoints $(STATE)/endpoints.json
	@$(BIN)/python -m tools.page_pictures --endpoints $(STATE)/endpoints.json --site $(SITE)

clean: down ## Remove everything that was built; the next target builds it again
	rm -rf $(addprefix $(TYPESCRIPT)/,node_modules dist .test) console/node_modules $(DOCUMENTS)/node_modules
	rm -rf .venv .cache .local cdk.out out .mypy_cache .pytest_cache .ruff_cache
