# make quickstart   set up, then train a VLA policy on real LIBERO and show before and after
# make test         set up, then run the tests
# make lint         linters, types, layer contracts
# make setup        system libraries, .venv, pinned dependencies; a no-op when done before
# make clean        delete what the tools left behind (runs/ and .venv stay)

SHELL := /bin/bash
PYTHON := .venv/bin/python
VLARL := .venv/bin/vlarl

# Where the quickstart puts its results; RUN=/elsewhere/name for another place.
RUN ?= runs/quickstart
# Further flags for the quickstart's training, for example ARGS="--iterations 5".
ARGS ?=
# Further arguments for pytest, for example TESTS="tests/vlarl -k grpo".
TESTS ?=
# Test processes; each simulator test needs about 1 GB.
JOBS ?= 2

# One thread per process (the processes are the parallelism), and rendering without a screen.
export OMP_NUM_THREADS ?= 1
export LP_NUM_THREADS ?= 0
export MUJOCO_GL ?= osmesa
export PYOPENGL_PLATFORM ?= $(MUJOCO_GL)
export TOKENIZERS_PARALLELISM ?= false
export HF_HUB_OFFLINE ?= 1

.PHONY: help setup test lint format quickstart clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

setup:
	@tools/setup.sh

test: setup
	$(PYTHON) -m pytest -n $(JOBS) --dist loadgroup --durations 10 $(TESTS)

# All of them are run, whatever the first ones say.
lint: setup
	@status=0; for check in "ruff check" "ruff format --check" "pyrefly check" "lint-imports --no-logo"; do \
	  echo "$$check"; .venv/bin/$$check || status=1; done; exit $$status

format: setup
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

# A run that was stopped goes on where it was; one that is finished is only reported.
quickstart: setup
	$(VLARL) doctor
	@if [ -f "$(RUN)/config.json" ]; then set -x; $(VLARL) train --resume "$(RUN)" $(ARGS); \
	else set -x; $(VLARL) train libero_quickstart --out "$(RUN)" $(ARGS); fi
	$(VLARL) report "$(RUN)"

clean:
	rm -rf .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist MUJOCO_LOG.TXT
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
