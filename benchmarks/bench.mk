.PHONY: bench
bench: $(DATA) $(DEV) ## measure the pipeline against the reference script, and the service
	@$(PY) benchmarks/run.py
	@$(PY) -m benchmarks.serving
