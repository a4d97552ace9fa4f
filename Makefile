# Needs Python 3.11 or newer, git and make; everything else is set up in .venv by each target itself.
PYTHON ?= $(shell for each in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= auto

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench bench-ops bench-nets bench-quant fuzz clean

help:
	@echo "make setup   the package and its run-time extras in $(VENV)"
	@echo "make demo    build PoseNet, inspect it, convert it to both targets, check the result"
	@echo "make test    the tests (installs TensorFlow as an independent reference)"
	@echo "make check   lint, format and types"
	@echo "make bench   the benchmarks of docs/benchmarks.md (installs TensorFlow)"
	@echo "make bench-ops  the small graphs of docs/bench-ops.md (installs TensorFlow and tensorflowjs, 5 GB)"
	@echo "make bench-nets  the nets of Keras applications, docs/keras-nets.md (installs TensorFlow; about an hour)"
	@echo "make bench-quant  quantised files of three tools on the models of ../shared/models (docs/quantisation-bench.md)"
	@echo "make fuzz    100,000 spoilt models for all readers (docs/fuzzing.md; installs TensorFlow)"
	@echo "make clean   take away everything the targets made"

$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found; set PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One stamp for each set of extras, renewed when the dependencies change.
$(VENV)/.ready-%: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

setup: $(VENV)/.ready-tfjs

demo: setup
	$(BIN)/python scripts/demo.py

test: $(VENV)/.ready-tfjs,test
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

check: $(VENV)/.ready-check
	$(BIN)/ruff check src tests benchmarks scripts
	$(BIN)/ruff format --check src tests benchmarks scripts
	$(BIN)/mypy

# What is measured is the package as a user has it: a wheel in an environment of its own.
$(VENV)-user/.ready: pyproject.toml $(shell find src -name '*.py')
	$(PYTHON) -m venv $(VENV)-user
	$(VENV)-user/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps .
	$(VENV)-user/bin/pip install --quiet --disable-pip-version-check '.[tfjs]'
	@touch $@

bench: $(VENV)/.ready-tfjs,test $(VENV)-user/.ready
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/install_size.py
	$(BIN)/python benchmarks/compare.py --tensorferry-python $(VENV)-user/bin/python $(ARGS)

# TensorFlow.js's own converter needs other versions than everything else (docs/benchmarks.md).
$(VENV)-tfjs/.ready:
	$(PYTHON) -m venv $(VENV)-tfjs
	$(VENV)-tfjs/bin/pip install --quiet --disable-pip-version-check tensorflowjs==4.22.0 ydf==0.11.0
	@touch $@

bench-ops: $(VENV)/.ready-tfjs,test $(if $(findstring -only,$(ARGS)),,$(VENV)-tfjs/.ready)
	PYTHONPATH=benchmarks $(BIN)/python -m ops --work .benchmarks/ops \
		$(if $(findstring -only,$(ARGS)),,--tensorflowjs-python $(VENV)-tfjs/bin/python) $(if $(ARGS),$(ARGS),--page)

bench-nets: $(VENV)/.ready-tfjs,test
	$(BIN)/python benchmarks/keras_nets.py --page $(ARGS)

# ai-edge-quantizer brings a LiteRT of its own.
$(VENV)-quantizer/.ready:
	$(PYTHON) -m venv $(VENV)-quantizer
	$(VENV)-quantizer/bin/pip install --quiet --disable-pip-version-check ai-edge-quantizer==0.10.0
	@touch $@

bench-quant: $(VENV)/.ready-tfjs,test $(VENV)-quantizer/.ready
	PYTHONPATH=benchmarks $(BIN)/python -m quantising --page --quantizer-python $(VENV)-quantizer/bin/python $(ARGS)
	PYTHONPATH=benchmarks $(BIN)/python -m quantising.leave_one_out .benchmarks/quantising

fuzz: $(VENV)/.ready-tfjs,test
	PYTHONPATH=src:benchmarks $(BIN)/python -m fuzzing $(ARGS)

clean:
	rm -rf $(VENV) $(VENV)-user $(VENV)-tfjs $(VENV)-quantizer dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	rm -rf js/node_modules src/tensorferry/runtimes/assets
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
