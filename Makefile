# Every target works on a fresh machine with Python 3.11+ and make: it creates .venv when there is none.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test gpu-test check docs proof clean

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: $(READY)
	$(BIN)/medtune demo --out medtune-demo

test: $(READY)
	$(BIN)/python -m pytest

# On a machine with a CUDA GPU: its own python3 and packages, nothing is installed.
gpu-test:
	PYTHONPATH="$(CURDIR)/src$${PYTHONPATH:+:$$PYTHONPATH}" $(PYTHON) -m pytest tests/gpu

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

docs: $(READY)
	$(BIN)/sphinx-build -n -W --keep-going -b html docs docs/_build/html
	$(BIN)/sphinx-build -n -W -b doctest docs docs/_build/doctest

# The long series, run by hand: about an hour of mutants.
proof: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[proof]'
	$(BIN)/python tools/mutants.py

clean:
	rm -rf $(VENV) docs/_build build dist medtune-demo
