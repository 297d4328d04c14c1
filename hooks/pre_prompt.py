"""Replace each symbolic link that the checkout could not make by a copy of its target.

Git without `core.symlinks` and zip archives leave a file in its place, which holds the path of the
target. This runs in a temporary copy of the repository.
"""

import shutil
from pathlib import Path

TEMPLATE = Path("{{cookiecutter.project_slug}}")

for path in sorted(TEMPLATE.rglob("*")):
    if path.is_file() and path.stat().st_size < 200:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
        target = path.parent / text
        if text.startswith("../") and "\n" not in text and target.exists():
            path.unlink()
            (shutil.copytree if target.is_dir() else shutil.copyfile)(target, path)

(TEMPLATE / ".needs-hooks").unlink()
