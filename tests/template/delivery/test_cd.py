"""The whole of cd.yml, run by act: from a push to main to production, and once more."""

import json
import re
import shutil
import urllib.request
from pathlib import Path
from typing import Any

from tests.dvc_runs import commit, dvc, git
from tests.projects import ROOT
from tests.template.delivery.engine import Engine, free_port
from tests.workflow.runs import LEFT_OUT, OWNER, change, edit, make_quick, run_workflow

STEPS = ["Keep the model", "Build and push", "Deploy", "Integration tests", "Record the promotion"]


def test_push_to_main_becomes_a_service(engine: Engine, tmp_path: Path):
    clone, origin, store = tmp_path / "clone", tmp_path / "origin.git", tmp_path / "store"
    make_quick(clone, *LEFT_OUT)
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(ROOT / name, clone)
    shutil.copytree(ROOT / "tests/integration", clone / "tests/integration")
    # The ports are variables of the environments, which act does not know.
    port = str(free_port())
    for default, own in (("8001", str(free_port())), ("8000", port)):
        edit(clone / ".github/workflows/cd.yml", f"vars.PORT || '{default}'", f"'{own}'")
    commit(clone)
    git(clone, "clone", "--quiet", "--bare", ".", str(origin))
    git(clone, "config", f"url.{origin}.pushInsteadOf", OWNER)
    head = git(clone, "rev-parse", "HEAD").strip()
    options: dict[str, Any] = {
        "variables": {"REGISTRY": engine.registry, "REGISTRY_USER": "someone"},
        "secrets": {"DOCKER_HOST": engine.host, "REGISTRY_TOKEN": "token"},
        "environment": {
            "DOCKER_HOST": engine.host,
            "DOCKER_BUILDKIT": "0",
            "DOCKER_BUILD_FLAGS": "--network=host",
            "DOCKER_CONFIG": str(tmp_path / "docker"),
            "READY_SECONDS": "120",
        },
    }
    payload = {"before": "0" * 40, "forced": False}

    status, log = run_workflow(clone, "push", payload, store, workflow="cd.yml", **options)
    assert status == 0, log
    done = re.findall(r"Success - Main (.+?) \[", log)
    assert [step for step in done if step in STEPS] == [*STEPS[:4], "Deploy", STEPS[4]]
    assert "1000 of 1000 requests answered right" in log
    assert "production: v1.0.0 promoted" in log
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/version", timeout=10) as response:
        assert json.load(response)["commit"] == head
    tags = git(origin, "tag").split()
    assert tags == ["model#production#1", "model@v1.0.0"]
    assert git(origin, "rev-parse", "main").strip() == head
    model = git(origin, "rev-list", "-1", "model@v1.0.0").strip()
    assert head in (model, git(origin, "rev-parse", f"{model}^").strip())

    before = engine.docker("ps", "--all", "--quiet")
    git(clone, "fetch", "--quiet", "--tags", str(origin))  # as the checkout does on GitHub
    status, log = run_workflow(clone, "push", payload, store, workflow="cd.yml", **options)
    assert status == 0, log
    for said in (
        "exists already; nothing to build",
        "serves already",
        "production: v1.0.0 is promoted already",
    ):
        assert said in log
    assert engine.docker("ps", "--all", "--quiet") == before
    assert git(origin, "tag").split() == tags

    # A model that the gate refuses goes nowhere.
    change(clone, gate={"accuracy": {"min": 0.9999}})
    dvc(clone, "repro", "--quiet", "prepare")
    commit(clone)
    status, log = run_workflow(clone, "push", payload, store, workflow="cd.yml", **options)
    assert status == 1
    assert "Build and push" not in log
    assert engine.docker("ps", "--all", "--quiet") == before
