GROUPS += workflow
.PHONY: ci

ci: $(DEV) ## run the workflow on the last commit (EVENT=push: main's job)
	@$(PY) -m src.workflow.local

# The report then compares with main's model, too.
REPORT := src.workflow.report
