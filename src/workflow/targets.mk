GROUPS += workflow
.PHONY: ci

ci: $(DEV) ## run the pull request's workflow here, on the last commit
	@$(PY) -m src.workflow.local

# The report then compares with main's model, too.
REPORT := src.workflow.report
