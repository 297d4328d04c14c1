.PHONY: collect

collect: $(PIPELINE) ## move a record to a store: FROM=folder TO=s3://bucket/folder
	@$(PY) -m src.monitoring.collect
