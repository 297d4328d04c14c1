"""Files as Git holds them at a revision."""

import json
from typing import Any

from src.shared.errors import UserError
from src.shared.git import git


def find_main() -> str:
    """Return the commit of origin/main, or else of main; empty if there is neither."""
    for revision in ("origin/main", "main"):
        try:
            return git("rev-parse", "--verify", "--quiet", revision)
        except UserError:
            continue
    return ""


def history(revision: str, *paths: str) -> list[str]:
    """Return the last hundred commits of a branch that changed a file, the oldest first.

    Args:
        revision: where the branch ends; as for `read`.
        paths: the files, from the project's root.
    """
    if not exists(revision):
        return []
    return git(
        "log", "--first-parent", "--reverse", "-100", "--format=%H", revision, "--", *paths
    ).split()


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
    try:
        git("rev-parse", "--verify", "--quiet", "--end-of-options", revision + "^{commit}")
    except UserError:
        raise UserError(f"{revision}: no such commit in this clone; fetch it first") from None
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


def parse_yaml(text: str) -> dict[str, Any]:
    """Read YAML as DVC does; empty if it is not YAML or not a mapping."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe").load(text)
    except YAMLError:
        content = None
    return content if isinstance(content, dict) else {}
