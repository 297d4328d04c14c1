.PHONY: bench
bench: $(DATA) $(PIPELINE) ## measure the pipeline against the reference script
	@$(PY) benchmarks/run.py
	@$(PY) -m benchmarks.workflow
