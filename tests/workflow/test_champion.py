"""Which model of the history is the one to beat."""

import json
from pathlib import Path

from src.shared.champion import Champion, find
from src.shared.paths import METRICS
from tests.dvc_runs import commit, git


def test_the_champion_is_the_last_model_that_passed(tmp_path: Path, monkeypatch):
    """A rejected one lies in Git as well, and must not make way for itself with the next commit."""
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "--quiet")
    METRICS.parent.mkdir(parents=True)
    commits = []
    for value, bound in [
        (0.95, "{min: 0.9, max_drop: 0.02}"),
        (0.92, "{min: 0.9, max_drop: 0.02}"),  # a drop of 0.03
        (0.80, "{min: 0.9, max_drop: 0.5}"),  # under the bound
        (0.91, "{min: 0.9, max_drop: 0.05}"),  # a drop that its commit allows
        (0.99, "nonsense"),
    ]:
        METRICS.write_text(json.dumps({"accuracy": value}))
        Path("params.yaml").write_text("gate: {accuracy: " + bound + "}\n")
        commit(tmp_path)
        commits.append(git(tmp_path, "rev-parse", "HEAD").strip())
    found = [find(revision) for revision in commits]
    good, allowed = (
        Champion(commits[0], {"accuracy": 0.95}),
        Champion(commits[3], {"accuracy": 0.91}),
    )
    assert found == [good, good, good, allowed, allowed]
    assert find("") is None
