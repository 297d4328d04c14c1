import json
import re
import tomllib
from pathlib import Path

import pytest

from src.delivery import image, sbom
from src.shared.errors import UserError


def test_no_image_is_built_of_what_git_does_not_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(image, "git", lambda *arguments: "")  # all is committed
    Path("models").mkdir()
    Path("models/model.json").write_text("{}")
    Path("dvc.lock").write_text("stages:\n  train:\n    outs: []\n")
    with pytest.raises(UserError, match=r"models/model.json: not the file that dvc\.lock names"):
        image.build("name")


def test_base_image_is_the_oldest_python_for_which_the_locks_are() -> None:
    """Dependabot renews the last number; the others change with pyproject.toml."""
    facts = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    oldest = facts["project"]["requires-python"].split(",")[0].removeprefix(">=")
    dockerfile = Path("Dockerfile").read_text(encoding="utf-8")
    assert re.search(rf"^FROM python:{re.escape(oldest)}\.\d+-slim ", dockerfile, re.MULTILINE)


def test_bill_of_materials_names_each_package_of_the_lock_and_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = sbom.LOCK.read_text(encoding="utf-8")
    monkeypatch.setattr(sbom, "SBOM", tmp_path / "sbom.cdx.json")
    sbom.write("1" * 40, "2" * 64)
    content = json.loads(sbom.SBOM.read_text(encoding="utf-8"))
    assert content["metadata"]["component"]["version"] == "1" * 40
    *packages, model = content["components"]
    wanted = re.findall(r"^([\w.-]+)==(\S+)(?! ; .*win32)(?: ;.*)? \\$", lock, re.MULTILINE)
    assert [(one["name"], one["version"]) for one in packages] == wanted
    assert len(wanted) > 10
    assert all(one["hashes"] for one in packages)
    known = set(re.findall(r"sha256:(\w+)", lock))
    assert {found["content"] for one in packages for found in one["hashes"]} <= known
    assert model["hashes"] == [{"alg": "SHA-256", "content": "2" * 64}]
