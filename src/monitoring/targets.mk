.PHONY: monitor

monitor: $(PIPELINE) ## compare what the service was asked with training: RECORD=...
	@$(PY) -m src.monitoring.monitor
