PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt
WORKERS ?= auto
# Most of the time of the tests is XLA's, on programs that run once: here it optimizes little. `make
# test-slow` compares the engines as users have them.
QUICK := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false \
	--xla_llvm_disable_expensive_passes=true --xla_cpu_parallel_codegen_split_count=1

.PHONY: demo test test-slow test-faults test-backends coverage lint format clean

demo: $(VENV)/.demo
	$(BIN)/layerwise run digits

test coverage: export XLA_FLAGS ?= $(QUICK)

test: $(VENV)/.test lint
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not faults"

coverage: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not faults" --cov --cov-report=term

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) -m "(slow or engines) and not faults"

test-faults: $(VENV)/.test
	$(BIN)/python -m pytest -s -m faults tests/faults tests/test_features.py tests/test_resume.py

test-backends: .venv-backends/.ready
	KERAS_BACKEND=tensorflow .venv-backends/bin/python -m pytest -m engines
	KERAS_BACKEND=torch .venv-backends/bin/python -m pytest -m engines

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .venv-backends

# Each stamp file stands for an environment that is installed as pyproject.toml asks.
$(VENV)/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) -e .
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/python $(PIP) -e ".[test]"
	touch $@

.venv-backends/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-backends
	.venv-backends/bin/python $(PIP) -e ".[test,tensorflow,torch]"
	touch $@
