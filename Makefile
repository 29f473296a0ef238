# Everything from a clean clone: `make demo`, `make test`, `make lint`. Python 3.11 or newer.
PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
# many threads on a shared machine slow small networks down a hundredfold
export OMP_NUM_THREADS = 1

.PHONY: demo test lint format docs clean

# One stamp per set of extras; it is older than what it depends on when something is to be installed again. Bytecode is
# written as pip does for a package: where Python may not write it, each start would compile a hundred files again.
$(VENV)/stamp-demo: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@$(BIN)/python -m compileall -q src
	@touch $@

$(VENV)/stamp-test: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,export,image,text,audio]'
	@$(BIN)/python -m compileall -q src
	@touch $@ $(VENV)/stamp-demo

$(VENV)/stamp-lint: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,export,image,text,audio,lint]'
	@$(BIN)/python -m compileall -q src
	@touch $@ $(VENV)/stamp-demo $(VENV)/stamp-test

# Train on scikit-learn's breast cancer data, from a CSV file, and print the scores and the folder of the run.
demo: $(VENV)/stamp-demo
	$(BIN)/python examples/demo_data.py runs/demo-data/breast_cancer.csv
	$(BIN)/trainwell fit runs/demo-data/breast_cancer.csv --target diagnosis --preset quick

test: $(VENV)/stamp-test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

lint: $(VENV)/stamp-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/stamp-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist src/*.egg-info

# The documentation as a site in build/site; a dead link or a page that fails is an error.
docs: $(VENV)/stamp-docs
	$(BIN)/python -m mkdocs build --strict --quiet

$(VENV)/stamp-docs: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@$(BIN)/python -m compileall -q src
	@touch $@ $(VENV)/stamp-demo
