# Two promises: `make demo` and `make test`. Each does its own set-up, in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check setup table speed clean

demo: .venv/ready
	$(BIN)/untrain demo

test: .venv/ready-dev
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 $(PYTEST)

# What the README's table is drawn from.
table: .venv/ready-dev
	$(BIN)/python -m untrain.bench table benchmarks/cifar10.toml --into README.md

# On a quiet machine; memory is kept between calls, or page faults drown what is measured.
speed: .venv/ready-dev
	MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=40000000000 $(BIN)/python benchmarks/speed.py benchmarks/records/speed.json

setup: .venv/ready-dev

# uv where it can be had, which is faster; pip where not.
define install
	$(BIN)/pip install --quiet uv 2>/dev/null && UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(BIN)/uv pip install --quiet -p .venv -e "$(1)" -c constraints.txt \
	|| $(BIN)/pip install --quiet -e "$(1)" -c constraints.txt
endef

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/ready: .venv/bin/python pyproject.toml constraints.txt
	$(call install,.[data])
	touch $@

.venv/ready-dev: .venv/bin/python pyproject.toml constraints.txt
	$(call install,.[dev])
	touch $@ .venv/ready

clean:
	rm -rf .venv untrain-demo
