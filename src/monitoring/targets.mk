.PHONY: collect monitor

collect: $(PIPELINE) ## move what the service recorded to a store: FROM=folder TO=s3://bucket/record
	@$(PY) -m src.monitoring.collect

monitor: $(PIPELINE) ## compare what the service was asked with training: RECORD=...
	@$(PY) -m src.monitoring.monitor
