GROUPS += workflow
.PHONY: ci

ci: $(DEV) ## run the pull request's workflow here; EVENT=push: main's
	@$(PY) -m src.workflow.local

# The report then compares with main's model, too.
REPORT := src.workflow.report
