"""What a release holds, such as model@v1.0.0: files that the dvc.lock of its commit names."""

import shutil
import subprocess
from pathlib import Path

from src.shared import files, pipeline, revisions, store
from src.shared.errors import UserError
from src.shared.git import git
from src.shared.paths import DVC_LOCK


def fetch(revision: str, path: Path, target: Path) -> None:
    """Copy a file that DVC keeps, as a revision has it.

    It is taken from the cache, from the folder in the repository that is its remote (a release
    brings it along), or from the default remote.

    Args:
        revision: a tag, branch or commit.
        path: the file, from the project's root.
        target: where to put it.

    Raises:
        UserError: there is no such revision, it names no such file, or nobody has it.
    """
    try:
        known = revisions.exists(revision)
    except UserError:
        known = False
    if not known:
        raise UserError(f"REVISION={revision}: no such release or commit in this clone")
    md5 = pipeline.made(revisions.read_yaml(revision, DVC_LOCK.as_posix()), path)
    if md5 is None:
        raise UserError(f"REVISION={revision}: its {DVC_LOCK} names no {path.as_posix()}")
    if (cached := files.cached(md5)).exists():
        shutil.copyfile(cached, target)
    elif not _from_git(revision, f"data/remote/files/md5/{md5[:2]}/{md5[2:]}", target):
        _pull(md5, target)
    if not target.exists() or files.md5(target) != md5:
        raise UserError(
            f"REVISION={revision}: neither the cache nor the default remote has its "
            f"{path.as_posix()}, or it is damaged there"
        )


def _from_git(revision: str, path: str, target: Path) -> bool:
    prefix = git("rev-parse", "--show-prefix")
    command = ["git", "cat-file", "blob", f"{revision}:{prefix}{path}"]
    with target.open("wb") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.DEVNULL, check=False)
    if done.returncode:
        target.unlink()
    return not done.returncode


def _pull(md5: str, target: Path) -> None:
    path, failed = store.fetch(md5, [None])
    if failed:
        raise UserError(f"the default remote: {' '.join(failed[None].split())[:200]}")
    if path.exists():
        shutil.copyfile(path, target)
