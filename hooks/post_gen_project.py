"""Make the rendered files a project: its data in place, what it has no use for gone, a commit."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Jinja escapes quotes and all that is not ASCII: nothing in an answer can end this string.
ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
RAW = Path(ANSWERS["__raw"])
DATA = Path(f".{RAW.name}.new")  # where pre_gen_project left it
CRUFT = "_commit" in ANSWERS

# `cruft update` and `cruft diff` make the project anew in a temporary folder, to compare.
UPDATING = CRUFT and (
    Path.cwd().parent.parent.samefile(tempfile.gettempdir())
    and re.fullmatch(r"tmp[a-z0-9_]{8}", Path.cwd().parent.name)
)

# Made by or for the demo's data.
DEMO = ("data/raw.csv.dvc", "data/remote", "data/schema.yaml", "dvc.lock", "metrics")


def stub() -> Path | None:
    """Find a file that holds the target of a symbolic link in place of the target's content."""
    files = (path for path in Path().rglob("*") if path.is_file() and path.stat().st_size < 200)
    ours = (path for path in files if path.parts[0] not in (".git", ".venv"))
    return next((path for path in ours if path.read_bytes().startswith(b"../")), None)


def tidy() -> None:
    """Remove what this project has no use for."""
    Path(".needs-hooks").unlink(missing_ok=True)
    for cache in list(Path().rglob("__pycache__")):
        shutil.rmtree(cache)
    if ANSWERS["data"] != "demo":
        for path in map(Path, DEMO):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for remote in ("gcs", "azure", "ssh"):
        extra = Path(f"requirements/{remote}.txt")
        if remote == ANSWERS["remote"]:
            extra.replace("requirements/remote.txt")
        else:
            extra.unlink()


def git(*arguments: str) -> str | None:
    """Run Git quietly; give what is wrong, nothing where all went well."""
    try:
        done = subprocess.run(
            ["git", *arguments],  # noqa: S607
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError:  # there is no Git
        return "git: not found"
    return " ".join(done.stderr.split()) or "git failed" if done.returncode else None


def commit() -> str:
    """Make the first commit; give what is left to say about it."""
    if not git("rev-parse", "--git-dir"):
        return "It lies in a Git repository already: commit it there.\n"
    if git("init", "--initial-branch", "main"):
        return "Install Git, then `git init` and commit: DVC needs a repository.\n"
    if CRUFT:  # which adds its own file only now
        return "Commit it all, .cruft.json too, before the next `cruft update`.\n"
    problem = git("add", "--all") or git("commit", "--message", "Start from the template")
    if problem and ("user.email" in problem or "identity" in problem):
        return "Git could not make the first commit: set user.name and user.email, then commit.\n"
    return f"Git could not make the first commit: {problem[-300:]}\n" if problem else ""


def main() -> int:
    """Finish the project and say what to do next."""
    if path := stub():
        print(
            f"{path.as_posix()} holds a link's target: Git here makes no symbolic links. Use\n"
            "cookiecutter, which can do without, or run `git config --global core.symlinks true`.",
            file=sys.stderr,
        )
        return 1
    tidy()
    if DATA.exists():
        RAW.parent.mkdir(exist_ok=True)
        DATA.replace(RAW)
    if UPDATING:
        return 0
    left = commit()
    here = Path(os.environ.get("PWD", "..")).resolve()
    folder = (
        os.path.relpath(Path.cwd(), here) if here.drive == Path.cwd().drive else str(Path.cwd())
    )
    print(
        f"\nReady: {folder}\n{left}\n"
        f"  cd {shlex.quote(folder)}\n"
        "  make repro    # environment, data, pipeline: a trained and gated model\n"
        "  make test     # lint, format, types and every test\n\n"
        "Next: README.md says how to change data, model, bound and remote.\n"
        "The settings are in params.yaml, the results will be in metrics/."
    )
    return 0


sys.exit(main())
