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

.PHONY: demo test test-slow kills check coverage bench bundle format clean

demo: .venv/ready
	$(BIN)/segmend demo --out $(DEMO)

test: .venv/ready
	$(TEST) -m "not slow"

test-slow: .venv/ready
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev,ray]"
	$(TEST)

kills: .venv/ready
	OMP_NUM_THREADS=1 PYTHONPATH=tests/support $(BIN)/python tests/robustness/kill.py $(ARGUMENTS)

coverage: .venv/ready
	$(TEST) -m "not slow" --cov --cov-report=term-missing:skip-covered

check: .venv/ready
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/ready
	$(BIN)/pip install --quiet -c constraints.txt -e ".[bench]"
	$(BIN)/python benchmarks/speed.py $(if $(BENCH_DATA),--data $(BENCH_DATA))

bundle: .venv/ready
	$(BIN)/python benchmarks/bundle.py --plan $(PLAN) --data $(DATA) --out $(BUNDLE) $(ARGUMENTS)

format: .venv/ready
	$(BIN)/ruff check --fix --quiet src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@
