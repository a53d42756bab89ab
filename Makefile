# Two promises: `make demo` and `make test`. Each does its own set-up, in .venv.
# `make test-vision` tests what stands on torchvision, timm, transformers, Lightning and Accelerate, in .venv-vision.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test types tests test-slow chaos test-vision docs check setup table speed real audit-truth audit-proof clean

# Two processes, each with a half of the tests in their order, so that what a file sets up is set up once; who is done first takes from the other.
TOGETHER := -n 2 --dist worksteal

demo: .venv/ready
	$(BIN)/untrain demo

test: .venv/ready-dev
	$(BIN)/ruff check src tests benchmarks attacks docs/build.py
	$(BIN)/ruff format --check src tests benchmarks attacks docs/build.py
	$(MAKE) --no-print-directory -j 2 types tests

# Together, as types take one core half a minute.
types: .venv/ready-dev
	$(BIN)/mypy
	$(BIN)/lint-imports
tests: .venv/ready-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest $(TOGETHER) --ignore=tests/vision $(PYTEST)

# What is marked slow and left out of `make test`, but for the long trials of `make chaos`.
LONG := tests/test_chaos.py tests/test_machine.py tests/test_stranger.py tests/test_odd_places.py
test-slow: .venv/ready-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest $(TOGETHER) --ignore=tests/vision $(LONG:%=--ignore=%) -m slow $(PYTEST)

# Every file call of a run fails once, kills, orders of events, 300 damaged inputs of each reader, strangers' folders, odd surroundings: a quarter
# of an hour. What was tried and how much of it did not hold becomes benchmarks/records/chaos.json, which docs/failures.md is drawn from.
COUNTED := UNTRAIN_CHAOS=$(CURDIR)/.chaos OMP_NUM_THREADS=1
chaos: .venv/ready-dev
	rm -f .chaos
	$(COUNTED) $(BIN)/pytest -n 2 -m slow $(LONG) $(PYTEST)
	$(COUNTED) UNTRAIN_FUZZ=300 $(BIN)/pytest -n 2 tests/test_fuzz.py tests/test_verify.py $(PYTEST)
	$(BIN)/python tests/counted.py .chaos benchmarks/records/chaos.json

test-vision: .venv-vision/ready
	OMP_NUM_THREADS=1 .venv-vision/bin/pytest $(TOGETHER) tests/vision $(PYTEST)

# The site, in site/html: a warning, a broken link, or a page that is in no nav fails.
docs: .venv/ready-dev
	$(BIN)/python docs/build.py

# The tables and pictures of the pages, from the records.
table: .venv/ready-dev
	$(BIN)/python -m untrain.bench table README.md benchmarks/README.md docs/noise.md docs/results.md
	$(BIN)/python -m untrain.bench picture methods --classes 3 --into docs/field-cifar10.svg
	$(BIN)/python -m untrain.bench picture methods-digits --classes 3 --into docs/field-digits.svg

# On a quiet machine; memory is kept between calls, or page faults drown what is measured.
speed: .venv/ready-dev
	MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=40000000000 $(BIN)/python benchmarks/speed.py benchmarks/records/speed.json
	OMP_NUM_THREADS=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=40000000000 $(BIN)/python benchmarks/floor.py benchmarks/records/floor.json

# What docs/real.md is drawn from; UNTRAIN_DATA names the folder with lfw100 and the checkpoint of MobileNetV2.
real: .venv-vision/ready
	OMP_NUM_THREADS=1 .venv-vision/bin/python benchmarks/real.py

# What docs/verdict.md is drawn from: 132 small networks, fakes and cheats; the trained ones are kept in the folder.
audit-truth: .venv/ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/audit_truth.py $${TMPDIR:-/tmp}/audit-truth

# Two hundred honest models, and as often nothing done: half an hour on one thread; what was trained and asked is kept in the folder.
audit-proof: .venv/ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/audit_proof.py $${TMPDIR:-/tmp}/audit-proof

setup: .venv/ready-dev

# uv where it can be had, which is faster; pip where not. Of a folder, what goes into it, and further options.
define install
	$(1)/bin/pip install --quiet uv 2>/dev/null && UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(1)/bin/uv pip install --quiet -p $(1) -e "$(2)" -c constraints.txt $(3) \
	|| $(1)/bin/pip install --quiet -e "$(2)" -c constraints.txt $(3)
endef

.venv/bin/python .venv-vision/bin/python:
	$(PYTHON) -m venv $(@:/bin/python=)

.venv/ready: .venv/bin/python pyproject.toml constraints.txt
	$(call install,.venv,.[data])
	touch $@

# Tests start some hundred processes, and where nothing may write bytecode each would compile torch anew; pip does this of itself, uv when told.
.venv/ready-dev .venv-vision/ready: export UV_COMPILE_BYTECODE = 1

.venv/ready-dev: .venv/bin/python pyproject.toml constraints.txt
	$(call install,.venv,.[dev])
	touch $@ .venv/ready

# The first environment holds none of these, so that what must do without them is tested without them.
VISION := .[dev,vision,hf,lightning,accelerate,saliency]
.venv-vision/ready: .venv-vision/bin/python pyproject.toml constraints.txt constraints-vision.txt
	$(call install,.venv-vision,$(VISION),-c constraints-vision.txt)
	touch $@

clean:
	rm -rf .venv .venv-vision untrain-demo site
