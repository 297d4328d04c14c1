# The service with the model of one commit: `make image`. Models come from the pipeline, not from here.
# The oldest Python of pyproject.toml, which the locks are for. Dependabot reads a tag that stands in
# FROM, not in ARG.
FROM python:3.11.14-slim AS base

FROM base AS packages
RUN python3 -m venv /app/.venv
COPY requirements/serve.txt .
# The packages' own tests, their headers and Arrow's RPC are a third of their size, and would be
# compiled and shipped for nothing.
RUN /app/.venv/bin/python -m pip --disable-pip-version-check install --quiet --no-cache-dir \
      --no-compile --require-hashes --only-binary :all: -r serve.txt && \
    /app/.venv/bin/python -m pip --disable-pip-version-check uninstall --quiet --yes pip setuptools && \
    find /app/.venv \( -type d -name tests -o -path '*/pyarrow/include' -o -name '*_flight*' \) \
      -prune -exec rm -rf {} +
COPY src /app/src
RUN /app/.venv/bin/python -m compileall -q -j 0 /app

FROM base
COPY --from=packages /app /app
# Where `make deploy` mounts a volume for the record; one that Docker makes takes over the owner.
RUN install -d -o 10001 -g 10001 /record
COPY models/model.joblib models/model.json models/README.md /app/models/
COPY metrics/evaluate/metrics.json /app/metrics/evaluate/
ARG COMMIT
ARG MODEL
# The hash of metrics/gate.json: `make image` gives it where the gate passed this model.
ARG VERDICT
LABEL org.opencontainers.image.revision=${COMMIT} model.sha256=${MODEL} gate.passed=${VERDICT}
ENV COMMIT=${COMMIT} HOST=0.0.0.0 PORT=8000 CHECK_SOCKET=/tmp/check.sock \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /app
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s \
  CMD ["/app/.venv/bin/python", "-m", "src.service.probe"]
CMD ["/app/.venv/bin/python", "-m", "src.service.server"]
