.PHONY: collect monitor

collect: $(PIPELINE) ## move a record to a store: FROM=folder TO=s3://bucket/folder
	@$(PY) -m src.monitoring.collect

monitor: $(PIPELINE) ## compare what the service was asked with training: RECORD=...
	@$(PY) -m src.monitoring.monitor
