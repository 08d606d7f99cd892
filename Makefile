# kluis: everything that a person or CI runs. Each target sets up what it needs.
#   make demo    the whole story on real files, at most 3 minutes
#   make test    lint and every test but the soak, at most 10 minutes
.PHONY: setup demo test lint debug soak bench bench-peers bench-calls format clean
MAKEFLAGS += --no-print-directory

PY := .venv/bin/python
PYTEST := $(PY) -m pytest
JOBS ?= 2

setup:
	@bash scripts/setup.sh

demo: setup
	@$(PY) -m scripts.demo

test: lint
	@$(PYTEST) -n $(JOBS) tests

lint: setup
	@bash scripts/lint.sh

# The native tests under AddressSanitizer and UndefinedBehaviorSanitizer, in a build of their own.
debug: setup
	@bash scripts/debug.sh

# The trial numbers of the promises instead of their small slices: hours.
soak: setup
	@$(PYTEST) -n $(JOBS) tests --soak

# Every data set and job of benchmarks/ against every peer found: .peers/ first, then the
# machine's own. Hours; BENCH="--plan quick" takes minutes, BENCH="--dataset tiny" one data set.
bench: setup
	@$(PY) -m benchmarks.harness $(or $(BENCH),--plan full)

# What a first, a small and an unchanged run ask of the file system, counted by strace.
bench-calls: setup
	@$(PY) -m benchmarks.calls $(BENCH)

bench-peers: setup
	@bash scripts/peers.sh

# Rewrites the sources as `make lint` wants them.
format: setup
	@.venv/bin/ruff check --quiet --fix . || true
	@.venv/bin/ruff format --quiet .
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs -r .venv/bin/clang-format -i

clean:
	rm -rf build dist .demo .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	rm -rf engine/*.egg-info *.egg-info engine/kluis/_native/*.so
	find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 -r rm -rf
	rm -f .venv/kluis-packages.stamp .venv/kluis-build.stamp
