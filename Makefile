# `make demo` and `make test` are all a newcomer needs; both set the machine up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_FOR_DOCS := $(VENV)/.ready-for-docs

.PHONY: demo test lint types docs check bench clean

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# uv resolves torch and torchvision to builds that belong together; pip alone may not. Compiled here once: where
	@# Python is told to write no bytecode, every process would compile torch anew (2 of 4 s).
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --constraint constraints.txt --editable ".[all]" --group dev
	@touch $(READY)

# One thread each: the demo's and the tests' networks are tiny, and threads that wait for each other on a busy machine
# can make them ten times slower.
demo: export OMP_NUM_THREADS = 1
demo: $(READY)
	rm -rf runs/demo
	$(BIN)/localgrad compare digits.backprop digits.dgl digits.auglocal --seeds 0,1 --out runs/demo
	$(BIN)/localgrad report --measure runs/demo -o report.html

test: export OMP_NUM_THREADS = 1
test: export PYTHONDONTWRITEBYTECODE =
test: $(READY)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# Only the site needs these.
$(READY_FOR_DOCS): $(READY)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --group docs
	@touch $(READY_FOR_DOCS)

# All pages as Markdown, then the site with every warning as an error, then: nothing from other hosts, no name missing.
docs: export NO_MKDOCS_2_WARNING = 1
docs: export OMP_NUM_THREADS = 1
docs: $(READY_FOR_DOCS)
	$(BIN)/python -m tools.pages.stage build/pages
	$(BIN)/python -m mkdocs build --strict --quiet
	$(BIN)/python -m tools.pages.check site

check: lint types docs test

bench: $(READY)
	$(BIN)/python benchmarks/step_time.py

clean:
	rm -rf $(VENV) build site runs report.html .mypy_cache .ruff_cache .pytest_cache
