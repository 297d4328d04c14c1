.PHONY: collect

collect: $(PIPELINE) ## move what the service recorded to a store: FROM=folder TO=s3://bucket/record
	@$(PY) -m src.monitoring.collect
