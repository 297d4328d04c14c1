.PHONY: image publish deploy models promote rollback

# The first four need no more than Python and Docker.
image: ## build the image of this commit
	@"$(PYTHON)" -m src.delivery.image build

publish: ## build and push it: REPOSITORY=ghcr.io/owner/name
	@"$(PYTHON)" -m src.delivery.image publish

deploy: ## serve an image: ENV=staging IMAGE=NAME@sha256:...
	@"$(PYTHON)" -m src.delivery.deploy

models: ## list the versions of the model, with metrics and stages
	@"$(PYTHON)" -m src.delivery.releases models

promote: $(PIPELINE) ## record that an image serves: ENV=production IMAGE=...
	@$(PY) -m src.delivery.releases promote

rollback: $(PIPELINE) ## go back to the version that served before: ENV=production
	@$(PY) -m src.delivery.releases rollback
