GROUPS += serve
.PHONY: serve integration

serve: $(DEV) ## serve the trained model on http://127.0.0.1:8000 (PORT=)
	@$(PY) -m src.service.server

integration: $(DEV) ## test the service at URL=
	@$(PY) -m pytest tests/integration --base-url "$$URL" -rs
