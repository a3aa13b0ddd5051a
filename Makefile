# run     start the demo gateway on loopback (no key and no network needed once installed)
# test    everything that must hold: the checks, then all tests, those from end to end once more with
#         three processes over PostgreSQL and Redis; VLLM=1 adds those with the real vLLM
# check   format, lint, types, import rules
# bench   measure Tidegate against its floor on this machine; PEERS=folder adds other gateways
# litellm build what the tests of litellm need, once, outside the checkout: 0.34 GB of disk, a minute
# vllm    build what VLLM=1 needs, once, outside the checkout: 2.5 GB of disk, some minutes
# lock    regenerate the lock files (needs uv); UPGRADE=1 takes newer versions
# clean   remove what make made here; never your data
#
# Variables: PYTHON (an interpreter ≥ 3.11), VENV (default .venv), ARGS (passed on by run and bench),
# JOBS (parallel test workers, default 2), VENV_LITELLM and VENV_VLLM (where `make litellm` and
# `make vllm` build; in the user's cache unless set).

VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin

# A name on the path may be a shim that runs nothing, so each candidate is tried.
PYTHON ?= $(shell for candidate in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$candidate; break; }; done)

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# The stamps hold the installed state: as long as they are newer than the locks nothing is installed.
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev

.DELETE_ON_ERROR:
.PHONY: run test check bench litellm vllm lock clean

run: $(RUN_STAMP)
	$(BIN)/tidegate demo $(ARGS)

test: check
	@$(BIN)/python -m tests.servers.install
	$(BIN)/python -m pytest -n $(JOBS) -m "not faults and not litellm and not vllm"
	$(BIN)/python -m pytest -n $(JOBS) -m "not faults and not litellm and not vllm" --form many tests/e2e
	$(BIN)/python -m pytest -n $(JOBS) -m faults tests/faults
	@$(BIN)/python -m tests.litellm.environment
	$(BIN)/python -m pytest -n $(JOBS) -m litellm tests/litellm tests/faultwall tests/e2e
ifeq ($(VLLM),1)
	@$(BIN)/python -m tests.vllm.environment
	$(BIN)/python -m pytest -m vllm tests/vllm
endif

check: $(DEV_STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(RUN_STAMP)
	$(BIN)/python -m bench $(if $(PEERS),--peers "$(PEERS)") $(ARGS)

litellm: $(DEV_STAMP)
	@$(BIN)/python -m tests.litellm.environment

vllm: $(DEV_STAMP)
	@$(BIN)/python -m tests.vllm.environment

$(RUN_STAMP): requirements.lock pyproject.toml
	$(call make_venv)
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# The development lock is a superset of the other with the same pins (tests/test_style.py), so it
# installs both.
$(DEV_STAMP): requirements-dev.lock requirements.lock pyproject.toml
	$(call make_venv)
	$(PIP) install --require-hashes -r requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $(RUN_STAMP) $@

# A virtual environment without pip is what a Python without ensurepip leaves behind: start again.
define make_venv
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		python='$(PYTHON)'; \
		if [ -z "$$python" ]; then \
			echo 'make: no Python 3.11 or newer found; install one, or say where it is: make PYTHON=/path/to/python3' >&2; exit 1; fi; \
		if ! "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
			echo "make: $$python does not run, or is older than Python 3.11" >&2; exit 1; fi; \
		if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
			echo "make: $$python has no venv module: apt-get install python3-venv" >&2; exit 1; fi; \
		if [ -d "$(VENV)" ] && [ ! -f "$(VENV)/pyvenv.cfg" ] && [ -n "$$(ls -A "$(VENV)")" ]; then \
			echo 'make: $(VENV) is not empty and not a virtual environment; choose another VENV' >&2; exit 1; fi; \
		echo "$$python -m venv $(VENV)"; \
		"$$python" -m venv --clear "$(VENV)"; }
endef

LOCKED := --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	$(if $(UPGRADE),--upgrade)
COMPILE := uv pip compile pyproject.toml --universal $(LOCKED)
COMPILE_VLLM := uv pip compile --python-platform x86_64-manylinux_2_28 --no-annotate \
	--override tests/vllm/exclude.in $(LOCKED)

lock:
	@command -v uv >/dev/null || { echo 'make lock: needs uv: pip install uv' >&2; exit 1; }
	$(COMPILE) --extra build --output-file requirements.lock
	$(COMPILE) --extra build --extra dev --constraint requirements.lock --output-file requirements-dev.lock
	uv pip compile requirements-litellm.in --universal $(LOCKED) --output-file requirements-litellm.lock
	$(COMPILE_VLLM) tests/vllm/requirements.in --output-file tests/vllm/requirements.lock

# VENV may point anywhere: only what is a virtual environment is removed.
clean:
	@if [ -f "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; fi
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage \
		bench/build build dist tidegate.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
