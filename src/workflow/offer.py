"""Push the new version of the raw data, and write what a pull request would change, for its job.

`python -m src.workflow.offer` is the end of a training anew. Nothing else is pushed: what prepare
and train made counts only where main's own run has made it.
"""

import json
from pathlib import Path

from src.shared import params
from src.shared.errors import UserError
from src.shared.files import cached, recorded
from src.shared.git import git
from src.shared.paths import REPORT
from src.workflow import lock, state
from src.workflow.remote import dvc

CAME = REPORT / "came.md"
EMBEDDED = Path("data/remote")  # in Git, which ignores what is new there


def push(raw: Path) -> str:
    """Push the raw data to the remote, and check that it is there; return the remote's address.

    Raises:
        UserError: this run cannot write there.
    """
    known = state.read()
    if known.source == "cache":
        raise UserError(f"the new rows cannot be pushed: {known.why}")
    name, url = next(iter(known.sources.items()))
    pointer = f"{raw.as_posix()}.dvc"
    dvc(name, url, "push", "--remote", name, pointer)
    status = json.loads(dvc(name, url, "data", "status", "--not-in-remote", "--json"))
    if raw.as_posix() in {path.rstrip("/") for path in status.get("not_in_remote", [])}:
        raise UserError(f"remote {name} ({url}) does not hold {raw.as_posix()} after the push")
    return url


def keep(raw: Path) -> None:
    """Let Git take what the embedded remote has got: DVC's objects of the raw data, no others."""
    whole = recorded(raw.with_name(f"{raw.name}.dvc"))[raw.as_posix()]
    parts = json.loads(cached(whole).read_text("utf-8")) if whole.endswith(".dir") else []
    for md5 in (whole, *(part["md5"] for part in parts)):
        git("add", "--force", "--", str(EMBEDDED / "files/md5" / md5[:2] / md5[2:]))


def main() -> None:
    """Push the raw data, write the patch and what came in to report/."""
    raw = Path(params.load().data.raw)
    url = push(raw)
    REPORT.mkdir(exist_ok=True)
    if Path(".dvc", url).resolve() == EMBEDDED.resolve():
        keep(raw)
    lock.write_patch()
    CAME.write_text("\n".join(f"- {line}" for line in state.read().came) + "\n", encoding="utf-8")
    print(f"pushed {raw.as_posix()} to {url}; the pull request's patch is {lock.PATCH.name}")


if __name__ == "__main__":
    state.run(main)
