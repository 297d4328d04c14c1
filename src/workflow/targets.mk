GROUPS += workflow
.PHONY: ci

ci: $(DEV) ## run the workflow here, on the last commit: the pull request's, or with EVENT=push main's
	@$(PY) -m src.workflow.local

# The report then compares with main's model, too.
REPORT := src.workflow.report
