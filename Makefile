# Everything starts from nothing: each target makes the environment first if it is missing.
PYTHON ?= python3
BIN := .venv/bin
DEMO ?= demo
PLAN ?= plil_table1
DATA ?= $(BENCH_DATA)
BUNDLE ?= bundle
BENCH_DATA ?= $(wildcard ../shared/data/left_atrium)

# One thread a test process: the processes themselves fill the cores.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: demo test quick test-slow fuzz kills check docs notebooks coverage golden golden-against refingerprint bench bundle format clean

demo: .venv/ready
	$(BIN)/segmend demo --out $(DEMO)

test: .venv/ready
	$(TEST) -m "not slow"

# What a change of mathematics or names most often breaks, in under a minute.
quick: .venv/ready
	$(TEST) -m "not slow" tests/functional tests/methods tests/core tests/networks tests/test_source.py tests/test_readme.py

test-slow: .venv/ready
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev,ray]"
	$(TEST)

# 300 broken folders; ARGUMENTS="--only 7" makes number 7 again and shows what the commands say.
fuzz: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python tests/robustness/fuzz.py $(ARGUMENTS)

kills: .venv/ready
	OMP_NUM_THREADS=1 PYTHONPATH=tests/support $(BIN)/python tests/robustness/kill.py $(ARGUMENTS)

coverage: .venv/ready
	$(TEST) -m "not slow" --cov --cov-report=term-missing:skip-covered

check: .venv/ready docs
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/ruff format --check src tests benchmarks docs
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation site, in site/; warnings are errors.
docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Runs the notebooks of the site again and keeps what they show.
notebooks: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python docs/notebooks/run.py

# Records the results of the golden runs for processors such as this one.
golden: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python tests/golden/record.py $(if $(ONLY),--only "$(ONLY)")

# Shows that this tree computes what the commit BASE computes, bit by bit.
golden-against: .venv/ready
	$(BIN)/python tests/golden/against.py $(BASE) $(if $(ONLY),--only "$(ONLY)")

# Does that, and then gives recorded runs of BASE the fingerprints of this tree.
refingerprint: .venv/ready
	$(BIN)/python benchmarks/refingerprint.py $(BASE)

bench: .venv/ready
	$(BIN)/pip install --quiet -c constraints.txt -e ".[bench]"
	$(BIN)/python benchmarks/speed.py $(if $(BENCH_DATA),--data $(BENCH_DATA))

bundle: .venv/ready
	$(BIN)/python benchmarks/bundle.py --plan $(PLAN) --data $(DATA) --out $(BUNDLE) $(ARGUMENTS)

format: .venv/ready
	$(BIN)/ruff check --fix --quiet src tests benchmarks docs
	$(BIN)/ruff format src tests benchmarks docs

clean:
	rm -rf .venv site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@
