"""Versions of the model and where they serve: `make models`, `make promote`, `make rollback`.

They are recorded in GTO's tags: `model@v1.0.0` on a commit that holds the model's dvc.lock and
metrics, with its image in the message, and `model#production#1` for each time that it went to
production. Only tags are pushed, never a branch. If training on another machine gave another model
than the one in main's dvc.lock, the tag is on a commit beside main.
"""

import argparse
import configparser
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from src.delivery import deploy
from src.shared import errors, files, provenance, sidecar
from src.shared.errors import UserError
from src.shared.git import git
from src.shared.paths import DVC_LOCK as LOCK
from src.shared.paths import MODEL, SIDECAR, VERDICTS

NAME = "model"
RECORDS = ("dvc.lock", "metrics")


@dataclass(frozen=True)
class Release:
    """A version of the model: its commit, its image, the numbers of the tags that promoted it."""

    version: str
    commit: str
    image: str
    promotions: dict[str, list[int]]

    @property
    def order(self) -> list[int]:
        """The numbers to sort versions by."""
        return [int(part) for part in re.findall(r"\d+", self.version)]


def releases() -> list[Release]:
    """Read all versions from the tags, the oldest first."""
    form = "--format=%(refname:strip=2)\t%(*objectname)\t%(contents:subject)"
    found: dict[str, Release] = {}
    stages: list[tuple[str, str, str]] = []
    for line in git("for-each-ref", form, f"refs/tags/{NAME}[@#]*").splitlines():
        tag, commit, message = line.split("\t", 2)
        if tag.startswith(f"{NAME}@") and message.startswith("image "):
            version, image = tag.partition("@")[2], message.removeprefix("image ")
            found[commit] = Release(version, commit, image, {})
        elif promotion := re.fullmatch(rf"{NAME}#([\w-]+)#(\d+)", tag):
            stages.append((commit, promotion[1], promotion[2]))
    for commit, stage, number in stages:
        if commit in found:
            found[commit].promotions.setdefault(stage, []).append(int(number))
    return sorted(found.values(), key=lambda release: release.order)


def served(stage: str, known: list[Release]) -> list[Release]:
    """Return the versions that served a stage, in that order; the last one serves now.

    A rollback removes the versions after the one that it returned to: they were taken back.
    """
    promotions = [
        (number, release) for release in known for number in release.promotions.get(stage, [])
    ]
    history: list[Release] = []
    for _, release in sorted(promotions, key=lambda promotion: promotion[0]):
        if release in history:
            del history[history.index(release) :]
        history.append(release)
    return history


def previous(stage: str, known: list[Release]) -> Release:
    """Return the version that served the stage before the current one.

    Raises:
        UserError: there is no such version.
    """
    history = served(stage, known)
    if len(history) < 2:
        last = history[0].version if history else "any"
        raise UserError(f"{stage}: no version served before {last}")
    return history[-2]


def record(image: str, stage: str) -> tuple[Release, bool]:
    """Record that an image with the model of the working directory serves a stage.

    Returns:
        The version, and whether anything new was recorded.
    """
    known = releases()
    same = [release for release in known if release.image == image]
    release = same[0] if same else _register(image, known)
    if served(stage, known)[-1:] == [release]:
        _push(release, stage)  # an earlier run may have failed to push
        return release, False
    return _assign(release, stage), True


def _register(image: str, known: list[Release]) -> Release:
    from gto import api

    commit = _commit(image, {release.commit for release in known})
    version = f"v1.{known[-1].order[1] + 1}.0" if known else "v1.0.0"
    with _told():
        api.register(".", NAME, commit, version, f"image {image}")
    return Release(version, commit, image, {})


def _assign(release: Release, stage: str) -> Release:
    from gto import api

    # Forced, as a version may return after another one.
    with _told():
        api.assign(".", NAME, stage, release.version, message=f"image {release.image}", force=True)
    release = next(one for one in releases() if one.version == release.version)
    _push(release, stage)
    return release


@contextmanager
def _told() -> Iterator[None]:
    """Say in one line why GTO could not make a tag; most often Git has no user name."""
    from gto.exceptions import GTOException
    from scmrepo.exceptions import SCMError

    try:
        yield
    except (GTOException, SCMError) as error:
        raise UserError(f"cannot tag the model: {' '.join(str(error).split())}") from None


def _push(release: Release, stage: str) -> None:
    if not git("remote"):
        return
    tags = [f"{NAME}@{release.version}", f"{NAME}#{stage}#{max(release.promotions[stage])}"]
    git("push", "--quiet", "--atomic", "origin", *(f"refs/tags/{tag}" for tag in tags))


def _commit(image: str, taken: set[str]) -> str:
    """Return a commit with the dvc.lock and the metrics of this model: HEAD, or one beside main.

    If the default remote is the folder in the repository, nobody has pushed the model to a store;
    then the commit holds the model's file in that folder.
    """
    md5 = files.md5(MODEL)
    if f"md5: {md5}\n" not in LOCK.read_text(encoding="utf-8"):
        raise UserError(f"{LOCK}: does not name this {MODEL.as_posix()}; run `dvc commit train`")
    index = Path(git("rev-parse", "--absolute-git-dir")) / "release.index"
    try:
        index.unlink(missing_ok=True)
        beside = {"GIT_INDEX_FILE": str(index)}
        git("read-tree", "HEAD", **beside)
        git("add", "--force", *RECORDS, **beside)
        if folder := embedded():
            blob = git("hash-object", "-w", "--no-filters", MODEL.as_posix())
            path = f"{folder}/files/md5/{md5[:2]}/{md5[2:]}"
            git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", **beside)
        tree = git("write-tree", **beside)
    finally:
        index.unlink(missing_ok=True)
    head = git("rev-parse", "HEAD")
    if tree == git("rev-parse", "HEAD^{tree}") and head not in taken:
        return head
    message = f"The model as it was trained and deployed\n\nimage {image}"
    return git("commit-tree", tree, "-p", head, "-m", message)


def embedded() -> str | None:
    """Return the folder of the default remote if it is in this repository, else None."""
    config = configparser.RawConfigParser()
    config.read([".dvc/config", ".dvc/config.local"], encoding="utf-8")
    default = config.get("core", "remote", fallback="")
    url = config.get(f"'remote \"{default}\"'", "url", fallback="")
    if os.environ.get("DVC_REMOTE_URL") or not url.startswith("../"):
        return None
    return url.removeprefix("../")


def table(known: list[Release]) -> str:
    """Return a table of the versions, the latest first: stages, judged metrics, commit, image."""
    lines = [f"{'version':9} {'serves':12} {'metrics':32} {'commit':8} image"]
    stages = sorted({stage for release in known for stage in release.promotions})
    serving = {stage: served(stage, known)[-1] for stage in stages}
    for release in reversed(known):
        serves = [stage for stage, one in serving.items() if one == release]
        gate = json.loads(git("show", f"{release.commit}:{VERDICTS.as_posix()}"))
        metrics = [f"{one['metric']} {one['value']:.4g}" for one in gate["verdicts"]]
        lines.append(
            f"{release.version:9} {', '.join(serves) or '-':12} {', '.join(metrics):32} "
            f"{release.commit[:7]:8} {release.image}"
        )
    return "\n".join(lines)


def main() -> None:
    """List the versions, record a promotion, or go back to the version before."""
    parser = argparse.ArgumentParser(prog="src.delivery.releases")
    parser.add_argument("command", choices=["models", "promote", "rollback"])
    command = parser.parse_args().command
    stage, image = os.environ.get("ENV", ""), os.environ.get("IMAGE", "")
    if command == "models":
        print(table(releases()))
    elif command == "promote":
        deploy.require(image, stage)
        provenance.require_passed()
        if deploy.require_passed(image) != sidecar.read(SIDECAR).model.sha256:
            raise UserError(f"{image}: holds another model than {SIDECAR.as_posix()} describes")
        release, new = record(image, stage)
        print(f"{stage}: {release.version} {'promoted' if new else 'is promoted already'}")
    else:
        if git("remote"):  # others may have promoted since
            git("fetch", "--quiet", "--tags", "origin")
        release = previous(stage, releases())
        deploy.deploy(release.image, stage, *deploy.settings())
        _assign(release, stage)
        print(f"{stage}: {release.version} serves again")


if __name__ == "__main__":
    errors.run(main)
