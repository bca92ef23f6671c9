# Two commands for a fresh machine: `make demo` and `make test`. The rest is for working on the code.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint types fast chaos gallery docs

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: $(READY)
	rm -rf demo
	$(BIN)/autodistill search --dataset movie-reviews --limit-train 1000 --unlabelled rest --trials 4 --time-budget 8m --study demo --studies-dir demo

test: $(READY) lint types
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses 3 --dist loadscope --no-loadscope-reorder  # three, because many tests wait; our modules are compiled once, not in each process

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy --num-workers 2

fast: $(READY)
	$(BIN)/python -m pytest -m "not slow and not browser"

chaos: $(READY)  # kills, damaged files and mutated inputs, drawn by the day; with CHAOS="--kills 5 --files 90 --inputs 500" a shorter one
	$(BIN)/python tests/chaos/run.py $(CHAOS)

gallery: $(READY)  # pages of the recorded studies and pictures of them, in build/gallery; needs Chromium, and minutes
	$(BIN)/python dashboards/gallery.py

docs: $(READY)  # the site, in build/site; the extra `docs` is installed for it
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
