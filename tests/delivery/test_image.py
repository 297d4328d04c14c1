from pathlib import Path

import pytest

from src.delivery import image
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
