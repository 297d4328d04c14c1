"""Finish the project: put its data in place, remove what it has no use for, make a commit."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Jinja escapes quotes and all that is not ASCII: nothing in an answer can end this string.
ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
RAW = Path(ANSWERS["__raw"])
DATA = Path(f".{RAW.name}.new")  # where pre_gen_project left it
POSITIVE = Path(".positive")  # likewise, as JSON
CRUFT = "_commit" in ANSWERS

# `cruft update` and `cruft diff` generate the project again in a temporary folder, to compare.
UPDATING = CRUFT and (
    Path.cwd().parent.parent.samefile(tempfile.gettempdir())
    and re.fullmatch(r"tmp[a-z0-9_]{8}", Path.cwd().parent.name)
)

# What belongs to the demo's data.
DEMO = ("data/raw.csv.dvc", "data/remote", "data/schema.yaml", "dvc.lock", "metrics")

# What comes with each part. A project has the parts from the first to the one that was chosen.
PARTS = {
    "pipeline": (),
    "workflow": (
        ".github",
        "docs/workflow.md",
        "requirements/workflow.txt",
        "src/workflow",
        "tests/workflow",
    ),
    "service": (
        ".github/workflows/monitor.yml",
        ".github/workflows/retrain.yml",
        "docs/monitoring.md",
        "docs/service.md",
        "requirements/serve.txt",
        "src/monitoring",
        "src/service",
        "src/shared/record.py",
        "src/workflow/issue.py",
        "src/workflow/labelled.py",
        "src/workflow/offer.py",
        "src/workflow/propose.py",
        "src/workflow/retrain.py",
        "src/workflow/stopped.py",
        "src/workflow/watch.py",
        "tests/integration",
        "tests/monitoring",
        "tests/service",
        "tests/workflow/test_issue.py",
        "tests/workflow/test_offer.py",
        "tests/workflow/test_propose.py",
        "tests/workflow/test_retrain.py",
        "tests/workflow/test_stopped.py",
        "tests/workflow/test_watch.py",
    ),
    "everything": (
        ".dockerignore",
        ".github/open-ssh",
        ".github/stand-ins/attest-build-provenance",
        ".github/workflows/cd.yml",
        "Dockerfile",
        "docs/delivery.md",
        "src/delivery",
        "tests/delivery",
    ),
}


def stub() -> Path | None:
    """Find a file that holds the path of a symbolic link's target instead of its content."""
    files = (path for path in Path().rglob("*") if path.is_file() and path.stat().st_size < 200)
    ours = (path for path in files if path.parts[0] not in (".git", ".venv"))
    return next((path for path in ours if path.read_bytes().startswith(b"../")), None)


def unused() -> Iterator[str]:
    """Name what this project has no use for."""
    yield ".needs-hooks"
    if ANSWERS["data"] != "demo":
        yield from DEMO
    order = list(PARTS)
    for part in order[order.index(ANSWERS["parts"]) + 1 :]:
        yield from PARTS[part]
    if ANSWERS["parts"] == "everything":
        yield ".github/workflows/main.yml"  # cd.yml does this too
    for remote in {"gcs", "azure", "ssh"} - {ANSWERS["remote"]}:
        yield f"requirements/{remote}.txt"


def set_positive() -> None:
    """Let the positive class in params.yaml be a number, a truth value or text as its column is."""
    if POSITIVE.exists():
        label, path = POSITIVE.read_text(encoding="utf-8"), Path("params.yaml")
        POSITIVE.unlink()
        text = path.read_text(encoding="utf-8")
        # Text that does not look like something else stands there as it is wanted.
        old = r"[0-9.-]+|true|false" if label.startswith('"') else ".*"
        line = re.compile(rf"(?mi)^(  positive: )({old})(?=  # the class)")
        text = line.sub(lambda found: found[1] + label, text, count=1)
        path.write_text(text, encoding="utf-8", newline="\n")


def tidy() -> None:
    """Remove what this project has no use for."""
    if ANSWERS["parts"] != "everything":  # there is no base image to renew
        bot = Path(".github/dependabot.yml")
        text = bot.read_text(encoding="utf-8").partition("  - package-ecosystem: docker")[0]
        bot.write_text(text, encoding="utf-8", newline="\n")
    for path in (*map(Path, unused()), *Path().rglob("__pycache__")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    plugin = Path(f"requirements/{ANSWERS['remote']}.txt")
    if plugin.exists():
        plugin.replace("requirements/remote.txt")


def git(*arguments: str) -> str | None:
    """Run Git quietly; return what went wrong, or None."""
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
    """Make the first commit; return what the user still has to know or do about it."""
    if not git("rev-parse", "--git-dir"):
        return "It is inside a Git repository already: commit it there.\n"
    if git("init", "--initial-branch", "main"):
        return "DVC needs a Git repository: install Git, then `git init` and commit.\n"
    if CRUFT:  # which adds its own file only now
        return "Commit everything, with .cruft.json, before the next `cruft update`.\n"
    problem = git("add", "--all") or git("commit", "--message", "Start from the template")
    if problem and ("user.email" in problem or "identity" in problem):
        return "Git could not make the first commit: set user.name and user.email, then commit.\n"
    return f"Git could not make the first commit: {problem[-300:]}\n" if problem else ""


def main() -> int:
    """Finish the project and say what to do next."""
    if path := stub():
        print(
            f"{path.as_posix()} holds the path of a link: Git makes no symbolic links here. Use\n"
            "cookiecutter, which needs none, or run `git config --global core.symlinks true`.",
            file=sys.stderr,
        )
        return 1
    tidy()
    set_positive()
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
        "The settings are in params.yaml; the results will be in metrics/."
    )
    return 0


sys.exit(main())
