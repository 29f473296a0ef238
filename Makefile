PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS = 1

.PHONY: demo test lint clean

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test,lint,export]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/python examples/demo_data.py runs/demo-data/breast_cancer.csv
	$(BIN)/trainwell fit runs/demo-data/breast_cancer.csv --target diagnosis --preset quick

test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build *.egg-info
