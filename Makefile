# The programs of .venv, by relative paths: the path to the repository may hold a space.
ifeq ($(OS),Windows_NT)
  PYTHON ?= python
  BIN := .venv/Scripts
else
  PYTHON ?= python3
  BIN := .venv/bin
endif

# Without bytecode the imports, which are most of the pipeline's time, take twice as long or more.
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH

# The stages' commands say `python`: it must be the one of .venv, whatever else is activated.
SEP := $(if $(findstring ;,$(PATH)),;,:)
PY = PATH="$(CURDIR)/$(BIN)$(SEP)$$PATH" $(BIN)/python

# A .venv is sound if its Python runs and an install was the last thing to finish in it.
SOUND := $(if $(wildcard .venv/*.stamp),$(shell { $(BIN)/python -c "print('yes')"; } 2>/dev/null))
PIPELINE := .venv/pipeline.stamp
DEV := .venv/dev.stamp
DATA := $(basename $(wildcard data/*.dvc))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help repro test lint format schema plots lock clean venv

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: $(DATA) $(PIPELINE) ## pull the data, then run what changed of the pipeline
	@$(PY) -m dvc repro

# Only what is missing or older than its .dvc file: data that somebody edited is newer, and stays.
# What the cache holds needs no remote. Equal times say that the two agree.
.PRECIOUS: $(DATA)
$(DATA): %: %.dvc | $(PIPELINE)
	@$(PY) -m dvc checkout --quiet $< || $(PY) -m dvc pull $<
	@touch -r $@ $<

test: lint ## lint, then run every test
	@$(PY) -m pytest -n auto --dist worksteal

lint: $(DEV) ## check style, format and types
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) -m mypy

format: $(DEV) ## repair style and format
	@$(PY) -m ruff check --fix
	@$(PY) -m ruff format

schema: $(PIPELINE) ## propose data/schema.yaml from the data
	@$(PY) -m src.schema

plots: $(PIPELINE) ## draw the plots into dvc_plots/index.html
	@$(PY) -m dvc plots show

# The larger set is resolved first, so that the smaller one can have the very same versions.
LOCK = $(PY) -m uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
	--fork-strategy fewest --generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock"

lock: $(DEV) ## renew requirements/*.txt from pyproject.toml
	@$(LOCK) --group dev --output-file requirements/dev.txt
	@$(LOCK) --constraint requirements/dev.txt --output-file requirements/pipeline.txt

clean: ## remove .venv, caches and plots, which can all be remade
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache dvc_plots
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

-include benchmarks/bench.mk

# Old stamps go first: an install that is interrupted leaves none, and the next make starts anew.
.venv/%.stamp: requirements/%.txt $(if $(filter yes,$(SOUND)),,venv)
	@echo "Installing $< into .venv: seconds with uv, a minute or two with pip"
	@rm -f .venv/*.stamp
	@if command -v uv >/dev/null; then \
		uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r $<; \
	else \
		$(BIN)/python -m ensurepip >/dev/null && \
		$(BIN)/python -m pip --disable-pip-version-check install --quiet --compile --require-hashes -r $<; \
	fi
	@touch $(if $(filter %/dev.txt,$<),$(PIPELINE)) $@

venv:
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null || \
		{ echo '$(PYTHON) is not Python 3.11 to 3.14: name one, as in "make PYTHON=python3.12 repro"' >&2; exit 1; }
	@if command -v uv >/dev/null; then \
		uv venv --quiet --clear --no-python-downloads --python "$$(command -v "$(PYTHON)")" .venv; \
	elif "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null; then \
		"$(PYTHON)" -m venv --clear --without-pip .venv; \
	else \
		echo '$(PYTHON) cannot make a .venv: install its venv module ("apt-get install python3-venv") or uv' >&2; exit 1; \
	fi
