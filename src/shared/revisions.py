"""Files as Git holds them at a revision."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.shared.errors import UserError
from src.shared.git import git, read_all


def find_main() -> str:
    """Return the commit of origin/main, or else of main; empty if there is neither."""
    for revision in ("origin/main", "main"):
        try:
            return git("rev-parse", "--verify", "--quiet", revision)
        except UserError:
            continue
    return ""


@dataclass(frozen=True)
class Place:
    """Where a commit holds the project.

    Attributes:
        commit: the commit.
        folder: the project's folder there, with a slash at its end; empty for the root.
    """

    commit: str
    folder: str

    def path(self, path: str) -> str:
        """Return how Git calls a file of the project; `path` is from the project's root."""
        return f"{self.commit}:{self.folder}{path}"


def history(revision: str, *paths: str) -> list[Place]:
    """Return all commits of a branch that changed a file, the oldest first.

    Where the project was moved to another folder, its history goes on in the one before.

    Args:
        revision: where the branch ends; as for `read`. None stands for the commit before this one.
        paths: the files, from the project's root.

    Raises:
        UserError: the revision is not in this clone, or the clone is shallow and stays so.
    """
    _deepen()
    end = revision if exists(revision) else _parent("HEAD")
    if not end:
        return []
    folder = git("rev-parse", "--show-prefix")
    if not git("ls-tree", "--full-tree", end, "--", *(folder + path for path in paths)):
        folder = _folder_before(end, "HEAD", folder)  # it has moved since
    places: list[Place] = []
    while end:
        names = [f":(top,literal){folder}{path}" for path in paths]
        log = ("log", "--first-parent", "--format=%H")
        came = git(*log, "-1", "--diff-filter=A", end, "--", *names)
        start = _parent(came) if came else ""
        since = [f"^{start}"] if start else []
        places += [Place(commit, folder) for commit in git(*log, end, *since, "--", *names).split()]
        folder = _folder_before(start, came, folder) if start else folder
        end = start
    return places[::-1]


def _parent(revision: str) -> str:
    try:
        return git("rev-parse", "--verify", "--quiet", f"{revision}^")
    except UserError:
        return ""


def _folder_before(old: str, new: str, folder: str) -> str:
    """Return the folder that held most files of the project before they were renamed.

    Args:
        old: a commit.
        new: a later one.
        folder: the project's folder in `new`.
    """
    options = ("--find-renames", "--diff-filter=R", "--name-status", "-z")
    fields = iter(git("diff", *options, old, new).split("\0"))
    before: Counter[str] = Counter()
    for _, was, now in zip(fields, fields, fields, strict=False):
        path = now.removeprefix(folder)
        if now.startswith(folder) and was.endswith(path):
            before[was.removesuffix(path)] += 1
    return before.most_common(1)[0][0] if before else folder


def _deepen() -> None:
    """Fetch the rest of the history where the clone holds only its end."""
    if git("rev-parse", "--is-shallow-repository") != "true":
        return
    try:
        git("fetch", "--quiet", "--unshallow", GIT_TERMINAL_PROMPT="0")
    except UserError as error:
        raise UserError(
            "the clone is shallow, so that the champion may lie before it, and its history cannot "
            f"be fetched ({error}); clone all of it (`fetch-depth: 0`)"
        ) from None


def read(revision: str, path: str) -> str | None:
    """Read a file as a revision holds it; None where there is no such file, or no revision.

    Args:
        revision: a commit, branch or tag. Empty, or only zeros as GitHub writes it for a branch
            that is new, stands for none.
        path: the file, from the project's root.

    Raises:
        UserError: the revision is not in this clone.
    """
    if not exists(revision):
        return None
    if not git("ls-tree", "--name-only", revision, "--", path):
        return None
    prefix = git("rev-parse", "--show-prefix")
    return git("show", f"{revision}:{prefix}{path}")


def exists(revision: str) -> bool:
    """Tell whether there is such a revision; see `read`.

    Raises:
        UserError: it is named, but not in this clone.
    """
    if not revision.strip("0"):
        return False
    name = ("rev-parse", "--verify", "--quiet", "--end-of-options", revision + "^{commit}")
    try:
        git(*name)
    except UserError:
        if not _fetched(revision):
            raise UserError(f"{revision}: no such commit in this clone; fetch it first") from None
    return True


def _fetched(revision: str) -> bool:
    """Fetch a commit that is on no branch, as the one before a forced push; tell if it came."""
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        return False
    try:
        git("fetch", "--quiet", "origin", revision, GIT_TERMINAL_PROMPT="0")
    except UserError:
        return False
    return True


def read_json(revision: str, path: str) -> Any:
    """Read a JSON file as a revision holds it; None where there is none, or it is not JSON."""
    try:
        return json.loads(read(revision, path) or "null")
    except ValueError:
        return None


def read_yaml(revision: str, path: str) -> dict[str, Any]:
    """Read a YAML file as a revision holds it; empty if there is none or it is not YAML."""
    return parse_yaml(read(revision, path) or "")


def read_yaml_at(place: Place, path: Path) -> dict[str, Any]:
    """Read a YAML file where the project was then; see `read_yaml`."""
    [text] = read_all([place.path(path.as_posix())])
    return parse_yaml(text or "")


def parse_yaml(text: str) -> dict[str, Any]:
    """Read YAML as DVC does; empty if it is not YAML or not a mapping."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe").load(text)
    except YAMLError:
        content = None
    return content if isinstance(content, dict) else {}
