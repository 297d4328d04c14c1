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

# The oldest Python supported, as 11 for 3.11.
OLDEST := $(shell sed -n 's/^requires-python = ">=3\.\([0-9]*\).*/\1/p' pyproject.toml)

# A .venv is sound if its Python runs and an install was the last thing to finish in it.
SOUND := $(if $(wildcard .venv/*.stamp),$(shell { $(BIN)/python -c "print('yes')"; } 2>/dev/null))
PIPELINE := .venv/pipeline.stamp
DEV := .venv/dev.stamp

DATA := $(basename $(wildcard data/*.dvc))
# The table, a file or a folder of files, where DVC does not know it yet.
FILES := $(wildcard data/raw.csv data/raw.parquet data/raw.csv.dvc data/raw.parquet.dvc)
NEW := $(filter-out $(DATA),$(if $(FILES),$(filter-out %.dvc,$(FILES)),$(wildcard data/raw)))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help repro test unit lint format schema plots report card experiments predict environment lock clean venv

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: $(DATA) $(NEW:%=%.dvc) data/schema.yaml $(PIPELINE) ## pull the data, then run what changed of the pipeline
	@$(PY) -m dvc repro

# Only what is missing or older than its .dvc file: data that somebody edited is newer, and stays.
# What the cache holds needs no remote, what came with the repository no other one.
# Equal times say that the two agree.
.PRECIOUS: $(DATA)
$(DATA): %: %.dvc | $(PIPELINE)
	@{ $(PY) -m dvc checkout --quiet $< && test -e $@; } || \
		$(if $(wildcard data/remote),$(PY) -m dvc pull --quiet --remote embedded $< ||) $(PY) -m dvc pull $<
	@touch -r $@ $<

# The first run with data of one's own.
$(NEW:%=%.dvc): | $(PIPELINE)
	@$(PY) -m dvc add $(NEW) >/dev/null
	@echo "DVC now tracks $(NEW): commit $@"

data/schema.yaml: | $(DATA) $(PIPELINE)
	@$(PY) -m src.schema

# The tests run side by side, so each takes one core.
PYTEST = OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --dist worksteal

test: lint ## lint, then run every test
	@$(PYTEST)

unit: $(DEV) ## run the tests that need no DVC, in seconds
	@$(PYTEST) -m "not slow" tests/pipeline

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

predict: $(PIPELINE) ## score a table: INPUT=rows.csv OUTPUT=scores.parquet
	@$(PY) -m src.predict

REPORT := src.report
report: $(PIPELINE) ## write report/report.md and report/report.html of the last run
	@$(PY) -m $(REPORT)

card: $(PIPELINE) ## write the model's card, models/README.md
	@$(PY) -m src.card

experiments: $(PIPELINE) ## compare DVC's experiments, with the gate's verdict on each
	@$(PY) -m src.experiments

environment: $(DEV) ## install what every other target needs

clean: ## remove .venv, caches and plots, which can all be remade
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache dvc_plots
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Groups of pyproject.toml that `make environment` installs, each from its lock, requirements/GROUP.txt.
GROUPS := dev

# What a remote other than Amazon S3 needs, on top of the pipeline's packages.
REMOTE := $(wildcard requirements/remote.txt)

LOCK = $(PY) -m uv pip compile --quiet --universal --python-version 3.$(OLDEST) \
	--fork-strategy fewest --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock"
# All is resolved together first, so that every lock has the very same versions.
VERSIONS := .venv/versions.txt
# For a lock that is installed on top of another one: $(call beyond,LOCK) leaves out each package
# that this lock has for every platform. (Those lines have no ";" before the platforms.)
beyond = $$(sed -n 's/^\([^ =]*\)==[^;]*$$/--no-emit-package=\1/p' $(1))

lock:: $(DEV) ## renew requirements/*.txt from pyproject.toml
	@$(LOCK) --upgrade pyproject.toml $(GROUPS:%=--group %) --group cluster $(if $(REMOTE),--group remote) --output-file $(VERSIONS)
	@$(LOCK) pyproject.toml --constraint $(VERSIONS) --output-file requirements/pipeline.txt
	@$(LOCK) pyproject.toml --group dev --constraint $(VERSIONS) --output-file requirements/dev.txt
	@for group in $(filter-out dev,$(GROUPS)); do \
		$(LOCK) --group $$group --constraint $(VERSIONS) --output-file requirements/$$group.txt || exit 1; \
	done
	@$(LOCK) --group cluster --constraint $(VERSIONS) \
		$(call beyond,requirements/pipeline.txt) --output-file requirements/cluster.txt
	@$(if $(REMOTE),$(LOCK) --group remote --constraint $(VERSIONS) \
		$(call beyond,requirements/pipeline.txt) --output-file $(REMOTE))

# The targets of the rooms in src/, which may add to GROUPS, and targets of one's own.
-include src/*/targets.mk *.mk

$(PIPELINE) $(DEV): $(REMOTE)
$(DEV): $(GROUPS:%=requirements/%.txt)

# Wheels only, so that no package runs code while it is installed; but for the one that has none,
# of which an older pip warns at length (twice quiet: errors only).
WHEELS := --only-binary :all: --no-binary antlr4-python3-runtime

# Old stamps go first: an install that is interrupted leaves none, and the next make starts anew.
.venv/%.stamp: requirements/%.txt $(if $(filter yes,$(SOUND)),,venv)
	@echo "Installing $(basename $(notdir $(filter requirements/%,$^))) into .venv (pip: a minute or two)"
	@rm -f .venv/*.stamp
	@if command -v uv >/dev/null; then \
		uv pip install --quiet --python $(BIN)/python --compile-bytecode \
			$(WHEELS) --require-hashes $(patsubst %,-r %,$(filter requirements/%,$^)); \
	else \
		$(BIN)/python -m ensurepip >/dev/null && \
		$(BIN)/python -m pip --disable-pip-version-check install --quiet --quiet --compile \
			$(WHEELS) --require-hashes $(patsubst %,-r %,$(filter requirements/%,$^)); \
	fi
	@touch $(if $(filter %/dev.txt,$<),$(PIPELINE)) $@

venv:
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, $(OLDEST)) <= sys.version_info < (3, 15))' 2>/dev/null || \
		{ echo '$(PYTHON) is not Python 3.$(OLDEST) to 3.14: name one, as in "make PYTHON=python3.$(OLDEST) repro"' >&2; exit 1; }
	@if command -v uv >/dev/null; then \
		uv venv --quiet --clear --no-python-downloads --python "$$(command -v "$(PYTHON)")" .venv; \
	elif "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null; then \
		"$(PYTHON)" -m venv --clear --without-pip .venv; \
	else \
		echo '$(PYTHON) cannot make a .venv: install its venv module ("apt-get install python3-venv") or uv' >&2; exit 1; \
	fi
