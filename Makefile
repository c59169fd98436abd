# Everything runs in .venv, made from the lock by python3 (3.11 or newer) alone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
HOST ?= 127.0.0.1
PORT ?= 8000
export HOST PORT
# Without bytecode each of the many processes that the tests start would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED
# Four processes also on two cores, as many tests wait. ARGS="-n 0 ..." runs the tests in one.
PARALLEL := -n 4 --dist worksteal

TARGETS := run test servers lint format types verifytypes docs tables rule-pages fault-matrix \
	server-matrix compat screenshot build lock coverage promises mutation bench bench-guard clean
.PHONY: help install $(TARGETS)

help:
	@echo "make $(TARGETS)"

install: $(STAMP)

CHECK_PYTHON := $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one by PYTHON=...")'

$(STAMP): requirements/dev.txt pyproject.toml
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# The example has an environment with no more than it needs; the library comes from src.
EXAMPLE := .venv-example
FRAMEWORK ?= fastapi
EXAMPLE_STAMP := $(EXAMPLE)/.installed-$(FRAMEWORK)
LOCKED := examples/shortener/requirements/$(FRAMEWORK).txt

$(EXAMPLE_STAMP): $(LOCKED)
	@$(CHECK_PYTHON)
	@echo "Creating the virtual environment $(EXAMPLE)"
	@$(PYTHON) -m venv $(EXAMPLE)
	@echo "Installing $$(grep -c == $(LOCKED)) packages, which takes about 20 seconds"
	@$(EXAMPLE)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCKED)
	@touch $@

# exec, so that a signal to make's child reaches the server itself. Without git there is no version.
run: export FRAMEWORK := $(FRAMEWORK)
run: export PYTHONPATH := $(CURDIR)/src
run: export DATABASE_URL ?= sqlite:///links.sqlite3
run: export DOCKERFLOW_HEARTBEAT_HTML ?= true
run: $(EXAMPLE_STAMP)
	@echo "Writing version.json from git"
	@version=$$(git describe --tags --always --dirty) && printf \
		'{"source": "", "version": "%s", "commit": "%s", "build": ""}\n' "$$version" "$$(git rev-parse HEAD)" \
		>examples/shortener/version.json || true
	@echo "Starting the $(FRAMEWORK) app; without a DATABASE_URL it has SQLite in examples/shortener"
	@echo
	@echo "  http://$(HOST):$(PORT)/               the link shortener"
	@echo "  http://$(HOST):$(PORT)/__heartbeat__  its checks, as a page"
	@echo "  http://$(HOST):$(PORT)/__version__    the version that runs"
	@echo
	@echo "Ctrl+C stops it."
	@cd examples/shortener && exec ../../$(EXAMPLE)/bin/python -m links serve

test: $(STAMP)
	$(BIN)/python -m pytest -rs $(PARALLEL) --ignore tests/servers $(ARGS)

# One process of pytest for all tests of a server.
SERVERS := -m pytest -rs -n 4 --dist loadgroup tests/servers

servers: $(STAMP)
	$(BIN)/python $(SERVERS) $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# What can't be fixed doesn't keep the rest from being formatted.
format: $(STAMP)
	$(BIN)/ruff check --fix --quiet --exit-zero .
	$(BIN)/ruff format .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy
	$(BIN)/pyright

# All that others can import has its type written down.
verifytypes: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright --verifytypes dockerflow --ignoreexternal

docs: $(STAMP)
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

# What is written by scripts: tables of the reference, the rules' pages, what real servers do.
tables: $(STAMP)
	$(BIN)/python tests/project/test_tables.py

rule-pages: $(STAMP)
	$(BIN)/python tests/verify/test_rule_pages.py

fault-matrix: $(STAMP)
	DOCKERFLOW_WRITE_FAULT_MATRIX=1 $(BIN)/python -m pytest -q -n 0 tests/contrib/test_faults.py::test_fault

server-matrix: $(STAMP)
	DOCKERFLOW_WRITE_SERVER_MATRIX=1 $(BIN)/python $(SERVERS)

# The same applications with python-dockerflow and with this package, each in its environment.
compat: $(STAMP)
	$(BIN)/python -m pytest -q -n 0 tests/compat/test_side_by_side.py $(ARGS)

# The picture of a run of dockerflow verify, by a real one.
screenshot: $(STAMP)
	$(BIN)/python docs/screenshot.py

# The same bytes of the same commit, whoever makes them, wherever and when.
build: $(STAMP)
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

# Of lines and branches, those of child processes too. coverage's own bound is of both together.
coverage: $(STAMP)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PARALLEL) $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/coverage json --quiet -o - | $(BIN)/python .ci/branches.py 95

# Whether the tests named in docs/promises.md notice when the code breaks their promise.
promises: $(STAMP)
	$(BIN)/python tests/project/test_promises.py $(ARGS)

# Which changes of the core's pure modules no test notices; CONTRIBUTING.md has the known ones.
mutation: $(STAMP)
	$(BIN)/nox --session mutation -- $(ARGS)

# --no-emit-*: where packages come from is the installing machine's business.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate $(LOCK_ARGS)

lock: $(STAMP)
	$(BIN)/$(LOCK) --group core-test -o requirements/core-test.txt
	$(BIN)/$(LOCK) --group dev -o requirements/dev.txt
	for name in fastapi flask django; do \
		$(BIN)/$(LOCK) -c requirements/dev.txt examples/shortener/requirements/$$name.in \
			-o examples/shortener/requirements/$$name.txt || exit 1; \
	done

# Side by side with the incumbent, which gets an environment of its own.
bench: $(STAMP)
	$(BIN)/python benchmarks/run.py $(ARGS)

# Some seconds: whether a summary costs far more than a log line. What it costs is bench's to say.
bench-guard: $(STAMP)
	$(BIN)/python benchmarks/guard.py

clean:
	rm -rf $(VENV) $(EXAMPLE) dist docs/_build .nox mutants .mypy_cache .pytest_cache .ruff_cache .hypothesis
