.PHONY: bench
bench: $(DATA) $(DEV) $(CLUSTER) $(ESTIMATORS) ## measure the pipeline, the workflow and the service
	@$(PY) benchmarks/run.py
	@$(PY) -m benchmarks.large
	@$(PY) -m benchmarks.workflow
	@$(PY) -m benchmarks.scoring
	@$(PY) -m benchmarks.serving
	@$(PY) -m benchmarks.recording
	@$(PY) -m benchmarks.cluster
