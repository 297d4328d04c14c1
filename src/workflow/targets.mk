GROUPS += workflow
.PHONY: ci

ci: $(DEV) ## run the pull request's workflow here, on the last commit
	@$(PY) -m src.workflow.local
