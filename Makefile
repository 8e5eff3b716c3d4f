# The two commands of the README, and the parts they are made of.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadgroup

.PHONY: demo check test test-all lint types duplicates clean

# Create an environment, install, pretrain on the embedded data, measure and draw.
demo: $(VENV)/.installed
	$(BIN)/dyntemp pretrain method=simclr_dyntemp data=digits

# While you work, under a minute: lint, types, and the tests that neither train nor start processes.
check: $(VENV)/.installed-test lint types
	$(PYTEST) -m "not slow and not distributed and not nightly"

# What CI runs: every property, on one method of each kind of state.
test: $(VENV)/.installed-test lint types
	$(PYTEST) -m "not nightly"

# Every night: every property on all 44 methods and all recipes, duplicate blocks, coverage.
test-all: $(VENV)/.installed-all lint types duplicates
	$(PYTEST) --cov

lint: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.installed-test
	$(BIN)/mypy

duplicates: $(VENV)/.installed-test
	$(BIN)/pylint registry/solo_pairs registry/solo_registry plugin/solo_dyntemp

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.py pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --editable '.[bench]'
	touch $@

$(VENV)/.installed-test: setup.py pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@ $(VENV)/.installed

# ray has no wheels for every Python: its test is then skipped, which pytest reports
$(VENV)/.installed-all: $(VENV)/.installed-test
	$(BIN)/pip install --quiet --editable '.[test,umap,recipes]'
	$(BIN)/pip install --quiet --editable '.[test,umap,recipes,ray]' || echo "ray is not installed"
	touch $@ $(VENV)/.installed $(VENV)/.installed-test

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage
