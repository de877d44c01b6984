# One command each: `make demo`, `make test`, ... A Python >= 3.11 with pip is all that must be there;
# the first command makes an environment of its own in $(VENV).

PYTHON ?= python3
VENV ?= .venv
# Passed on to the demo and the benchmarks, for example make demo ARGS="--quick".
ARGS ?=
# Test processes, and anything else for pytest, for example make test PYTEST_ARGS="-k simplex".
WORKERS ?= 2
PYTEST_ARGS ?=
# Extra arguments for pip, for example make test VENV=.venv-old PIP_ARGS="jax==0.8.0".
PIP_ARGS ?=
# Compiled programs are kept here between test runs; empty switches that off.
JAX_CACHE ?= $(CURDIR)/.cache/jax

BIN = $(VENV)/bin
CACHED = JAX_COMPILATION_CACHE_DIR="$(JAX_CACHE)" JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
# Files are not divided among processes, so that fixtures are made once.
PYTEST = $(if $(JAX_CACHE),$(CACHED)) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
SOURCES = $(wildcard mmfld_ppl models examples benchmarks tests docs)

.DEFAULT_GOAL := help
.PHONY: help demo test slow coverage lint format docs bench clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

demo: $(VENV)/.installed-examples  ## run the digits barycenter example
	$(BIN)/python -m examples.digits_barycenter $(ARGS)

test: $(VENV)/.installed-dev  ## run the fast tests and the doctests
	$(PYTEST) $(PYTEST_ARGS)

slow: $(VENV)/.installed-dev  ## run the slow statistical tests
	$(PYTEST) -m slow $(PYTEST_ARGS)

coverage: $(VENV)/.installed-dev  ## run the fast tests and report what they do not reach
	$(PYTEST) --cov=mmfld_ppl --cov-report=term:skip-covered $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev  ## check style, formatting and types
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.installed-dev  ## mend what the style check can mend
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

docs: $(VENV)/.installed-docs  ## build the documentation; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

bench: $(VENV)/.installed-dev  ## run the benchmarks
	$(BIN)/python -m benchmarks $(ARGS)

clean:  ## remove environments, caches and built files
	rm -rf .venv .venv-* .cache .pytest_cache .ruff_cache docs/_build docs/generated build dist
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# One environment, one stamp for each extra that was installed into it. A change of pyproject.toml
# installs again into the same environment.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is \
	needed, $(PYTHON) is " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.installed-%: pyproject.toml $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$*]" $(PIP_ARGS)
	@touch $@
