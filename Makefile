# Everything here sets itself up: tools in .tools, the environment in .venv, both from requirements.lock, nothing outside the
# checkout. The first run needs python3 (3.11 or newer) with pip, and the package registry; later runs need neither.

UV_VERSION := 0.13.9
PYTHON ?= python3
ARGS ?=
SEEDS ?= 300
COUNT ?= 1000

UV := .tools/bin/uv
BIN := .venv/bin
TOOLS_STAMP := .tools/uv-$(UV_VERSION).stamp
VENV_STAMP := .venv/ready.stamp
MUTATION_LOCK := simulations/mutation/requirements.lock
MUTATION_STAMP := .tools/mutation/ready.stamp

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-asterisk serve test schemathesis check requirements proof sequences ordeal fuzz mutation bench lock format clean \
	check-lint check-format check-types check-imports check-rules
.DELETE_ON_ERROR:

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "  ARGS='...' is handed on to demo, bench, ordeal, sequences, test, requirements and serve."

setup: $(VENV_STAMP) ## tools and environment only
	@:

demo: $(VENV_STAMP) ## a campaign from create to stopped on the simulated PBX
	@$(BIN)/python -m simulations demo $(ARGS)

demo-asterisk: $(VENV_STAMP) ## the same on a real Asterisk, unpacked into a user cache
	@$(BIN)/python -m simulations demo --asterisk $(ARGS)

serve: $(VENV_STAMP) ringfold.toml ## run the engine with ringfold.toml (made from the commented example when missing)
	@$(BIN)/ringfold serve --config ringfold.toml $(ARGS)

test: $(VENV_STAMP) ## all tests; what can't run here says why
	@$(BIN)/python -m pytest -q -rfEs $(ARGS)

schemathesis: $(VENV_STAMP) ## the published schema against a running service, at length: ARGS is examples an operation (50)
	@SCHEMATHESIS_EXAMPLES=$(or $(ARGS),50) $(BIN)/python -m pytest -q -s tests/api/test_schemathesis.py

check: check-lint check-format check-types check-imports check-rules ## lint, format, types, import directions, project rules

check-lint: $(VENV_STAMP)
	@echo "ruff check" && $(BIN)/ruff check --no-cache --quiet .

check-format: $(VENV_STAMP)
	@echo "ruff format" && $(BIN)/ruff format --no-cache --quiet --check .

check-types: $(VENV_STAMP)
	@echo "mypy --strict" && $(BIN)/mypy --no-error-summary

check-imports: $(VENV_STAMP)
	@echo "import directions" && $(BIN)/lint-imports --no-logo

check-rules: $(VENV_STAMP)
	@echo "project rules" && $(BIN)/python -m pytest -q --noconftest tests/test_project.py

requirements: $(VENV_STAMP) ## every requirement, its tests and their results
	@$(BIN)/python -m simulations requirements $(ARGS)

proof: $(VENV_STAMP) ## many simulated worlds full of faults, nothing lost or doubled: SEEDS=10000 is the long one
	@$(BIN)/python -m simulations proof --seeds $(SEEDS) $(ARGS)

sequences: $(VENV_STAMP) ## random orders of commands in virtual time, judged by the requirements: COUNT=10000 is the long one
	@$(BIN)/python -m simulations sequences --count $(COUNT) $(ARGS)

fuzz: $(VENV_STAMP) ## hostile input of every kind, drawn anew: ARGS is cases for each fuzzer (2000)
	@FUZZ_EXAMPLES=$(or $(ARGS),2000) $(BIN)/python -m pytest -q tests/hostile

mutation: $(VENV_STAMP) $(MUTATION_STAMP) ## the core's lines altered one by one, and its tests' score: ARGS='engine/core/gate.py --minutes 30'
	@$(BIN)/python -m simulations mutation $(ARGS)

ordeal: $(VENV_STAMP) ## a real Asterisk, a real PostgreSQL and the engine killed at random moments: ARGS='--minutes 10 --seed 7'
	@$(BIN)/python -m simulations ordeal $(ARGS)

bench: $(VENV_STAMP) ## benchmarks on this machine
	@$(BIN)/python -m simulations bench $(ARGS)

lock: $(TOOLS_STAMP) ## resolve pyproject.toml anew into requirements.lock
	@$(UV) pip compile pyproject.toml --group dev --universal --generate-hashes --no-annotate --no-header --quiet \
		--upgrade --output-file requirements.lock $(ARGS)
	@$(UV) pip compile simulations/mutation/requirements.in --universal --generate-hashes --no-annotate --no-header --quiet \
		--upgrade --output-file $(MUTATION_LOCK) $(ARGS)

format: $(VENV_STAMP) ## let ruff format and fix
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

clean: ## remove the environment, tools and caches; var/ and ringfold.toml stay
	@rm -rf .venv .tools build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

ringfold.toml:
	@cp config/ringfold.example.toml $@
	@echo "ringfold.toml: made from config/ringfold.example.toml, edit it to fit"

# pip with --target is the one way that works on a fresh Debian, where pip refuses the system environment and venv is missing.
$(TOOLS_STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "python 3.11 or newer is needed; set PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m pip --version >/dev/null 2>&1 \
		|| { echo "pip is needed: apt-get install python3-pip" >&2; exit 1; }
	@echo "setup: tools"
	@$(PYTHON) -m pip install --quiet --no-compile --disable-pip-version-check --root-user-action=ignore \
		--upgrade --target .tools uv==$(UV_VERSION)
	@rm -f .tools/uv-*.stamp && touch $@

$(VENV_STAMP): $(TOOLS_STAMP) requirements.lock pyproject.toml
	@echo "setup: environment"
	@test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) .venv
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# mutmut and the older pytest that it wants, apart from everything else.
$(MUTATION_STAMP): $(TOOLS_STAMP) $(MUTATION_LOCK)
	@echo "setup: mutation"
	@$(UV) venv --quiet --clear --python $(PYTHON) .tools/mutation
	@$(UV) pip sync --quiet --python .tools/mutation/bin/python --require-hashes $(MUTATION_LOCK)
	@touch $@
