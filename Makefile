# One command each; `make help` lists them. Everything made goes to BUILD_DIR and VENV.

PYTHON ?= python3
VENV ?= .venv
BUILD_DIR ?= build
PYTEST_ARGS ?=
FUZZ_ROUNDS ?= 10
BENCH_ARGS ?=
IMAGE_ARGS ?= --size-table=docs/image-size.md

bin := $(VENV)/bin
python_sources := executor tests benchmarks scripts examples github-actions
shell_sources := .ci/run $(shell find scripts examples ci tasks tests/support -name '*.sh' 2>/dev/null)
setup := $(PYTHON) scripts/debian_packages.py
run_tests := $(bin)/python -m scripts.run_tests --results=$(BUILD_DIR)/test-results

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
packages := $(addprefix packages-,venv demo test test-all bench)
.PHONY: help demo test test-all fuzz lint format tables images bench clean check-python $(packages)

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 16

demo: packages-demo $(VENV)/.knarr-runtime ## build an image twice, run it, show what came out
	$(bin)/python -m examples.demo $(BUILD_DIR)/demo

test: packages-test $(VENV)/.knarr-test ## unit tests, whole builds, wrappers by form; PYTEST_ARGS="-k name" for some
	$(run_tests) quick -- $(PYTEST_ARGS)

test-all: packages-test-all $(VENV)/.knarr-test-all ## every test: engines, containers and wrappers run for real too
	$(run_tests) quick slow rest -- $(PYTEST_ARGS)

fuzz: packages-test $(VENV)/.knarr-test ## property tests with new examples, FUZZ_ROUNDS times or until one fails
	for round in $$(seq $(FUZZ_ROUNDS)); do \
	  $(bin)/pytest -q -m hypothesis --hypothesis-profile=random tests/unit $(PYTEST_ARGS) || exit 1; done

lint: packages-venv $(VENV)/.knarr-dev ## format, lint, types, import contract, shell scripts
	$(bin)/ruff check $(python_sources)
	$(bin)/ruff format --check $(python_sources)
	$(bin)/mypy $(python_sources)
	PYTHONPATH=executor $(bin)/lint-imports
	$(bin)/shellcheck $(shell_sources)

format: packages-venv $(VENV)/.knarr-dev ## rewrite the Python files in the project's format
	$(bin)/ruff check --fix-only $(python_sources)
	$(bin)/ruff format $(python_sources)

tables: packages-venv $(VENV)/.knarr-dev ## the wrappers' tables, Tekton's StepActions, the CLI reference
	$(bin)/python -m scripts.cli_reference
	$(bin)/python -m scripts.input_tables
	$(bin)/python -m scripts.tekton

images: packages-venv $(VENV)/.knarr-runtime ## the executor's image for docker load; IMAGE_ARGS=--architecture=arm64
	PYTHONPATH=executor $(bin)/python -m scripts.image --output $(BUILD_DIR)/images \
	  --downloads $(BUILD_DIR)/image-downloads $(IMAGE_ARGS)

bench: packages-bench $(VENV)/.knarr-dev ## measure against buildah; needs root; BENCH_ARGS="--rounds 5"
	PYTHONPATH=tests $(bin)/python -m benchmarks.large_base $(BENCH_ARGS)

clean: ## remove what was made, but for the virtual environment
	rm -rf $(BUILD_DIR) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(python_sources) -name __pycache__ -type d -prune -exec rm -rf {} +

check-python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'knarr needs Python 3.11 or later; hint: make PYTHON=/path/to/python3.11' >&2; exit 1; }

$(packages): packages-%: check-python
	@$(setup) $*

$(VENV)/bin/pip: | packages-venv
	$(PYTHON) -m venv $(VENV)

$(VENV)/.knarr-runtime: pyproject.toml | $(VENV)/bin/pip
	$(bin)/pip install --quiet --editable .
	@touch $@

# `pip install --group` (dependency groups, PEP 735) came with pip 25.1.
$(VENV)/.knarr-test $(VENV)/.knarr-test-all $(VENV)/.knarr-dev: $(VENV)/.knarr-%: pyproject.toml | $(VENV)/.knarr-runtime
	$(bin)/pip install --quiet --upgrade 'pip>=25.1'
	$(bin)/pip install --quiet --group $*
	@touch $@
