# The two commands of the README, and the parts they are made of.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST_TOOLS := black==26.3.1 'pytest>=9' 'pytest-xdist>=3.6' 'hypothesis>=6.100'
# a file of tests is one worker's, so that what a module shares is made once; long tests come first
XDIST := -n auto --dist loadfile --no-loadscope-reorder
# pytest keeps the test files that it has rewritten, whatever the environment says
SETTINGS := PYTHONDONTWRITEBYTECODE=
PYTEST := $(SETTINGS) $(BIN)/pytest $(XDIST)
QUICK := not slow and not distributed and not nightly

.PHONY: demo check test test-all lowest pytest lint types types-elsewhere duplicates site clean

# Create an environment, install, pretrain on the embedded data, measure and draw.
demo: $(VENV)/.installed
	$(BIN)/dyntemp pretrain method=simclr_dyntemp data=digits

# While you work, a good minute: lint, types, and the tests that neither train nor start processes.
check: lint
	@$(MAKE) --no-print-directory --jobs 2 types pytest MARKS="$(QUICK)"

# What CI runs: every property, on one method of each kind of state.
test: lint
	@$(MAKE) --no-print-directory --jobs 2 types pytest MARKS="not nightly"

# Every night: every property on all 44 methods and all recipes, duplicate blocks, other systems' types.
# Coverage is that of the tests of `make check`: as it is measured, the processes that others fork end
# with an error.
test-all: $(VENV)/.installed-all lint types types-elsewhere duplicates
	$(PYTEST) -m "$(QUICK)" --cov
	$(PYTEST)

pytest: $(VENV)/.installed-test
	$(PYTEST) -m "$(MARKS)"

# The tests of `make check` on the lowest versions that setup.py allows; every night, for Python 3.10.
lowest: $(VENV)/bin/pip
	$(BIN)/pip install --quiet uv
	$(PYTHON) -m venv --clear .venv-lowest
	$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct \
		--editable '.[h5,hf,joblib,onnx,page,submitit,sweep,tensorboard,umap,wandb]' $(LOWEST_TOOLS)
	$(SETTINGS) .venv-lowest/bin/python -m pytest $(XDIST) -m "$(QUICK)"

lint: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.installed-test
	$(BIN)/mypy

# The code as other systems have Python: names that are absent there (no machine of theirs is at hand)
types-elsewhere: $(VENV)/.installed-test
	$(BIN)/mypy --platform win32 --no-warn-unreachable --cache-dir .mypy_cache/win32
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin

duplicates: $(VENV)/.installed-test
	$(BIN)/pylint registry/solo_registry plugin/solo_dyntemp

# The documentation as a site that needs no net: open build/site/index.html
site: $(VENV)/.installed-test
	$(BIN)/sphinx-build -W --keep-going -q -c docs . build/site

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
	$(BIN)/pip install --quiet --editable '.[test,umap,onnx,recipes]' onnxruntime
	$(BIN)/pip install --quiet --editable '.[test,umap,onnx,recipes,ray]' || echo "ray is not installed"
	touch $@ $(VENV)/.installed $(VENV)/.installed-test

clean:
	rm -rf $(VENV) .venv-lowest build *.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage
