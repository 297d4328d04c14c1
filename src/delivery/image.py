"""`make image`: build the image of this commit. `make publish` also pushes it.

Only a model that the gate passed gets an image, and the image says so: `make deploy` looks. It
holds one model for ever. Its tag is the commit; if the registry has an image of a commit
already, that one stays. Other commands name the image by its digest.
"""

import argparse
import os
import re
import sys

from src import card
from src.delivery import sbom
from src.delivery.docker import docker, inspect, project
from src.shared import errors, files, provenance, sidecar
from src.shared.errors import UserError
from src.shared.git import git
from src.shared.paths import MODEL, SIDECAR, VERDICTS

# What goes into the image, besides the model and its metrics, which the pipeline makes.
SOURCES = ("src", "requirements/serve.txt", "Dockerfile", ".dockerignore")


def build(repository: str) -> str:
    """Build the image of this commit and return its name with the tag.

    Args:
        repository: the image's name without a tag, such as ghcr.io/owner/name.

    Raises:
        UserError: the sources are not committed, the model is not the one of the sidecar, or the
            gate has not passed it.
    """
    changed = git("status", "--porcelain", "--", *SOURCES)
    if changed:
        names = ", ".join(line[3:] for line in changed.splitlines())
        raise UserError(f"not committed: {names}; commit it first")
    model = sidecar.read(SIDECAR).model.sha256
    if not MODEL.exists() or files.sha256(MODEL) != model:
        raise UserError(f"{MODEL.as_posix()}: not what its sidecar describes; run `dvc repro`")
    provenance.require_passed()
    card.write()
    commit = git("rev-parse", "HEAD")
    name = f"{repository}:{commit}"
    # For an engine that needs, say, a network of its own.
    more = os.environ.get("DOCKER_BUILD_FLAGS", "").split()
    arguments = {"COMMIT": commit, "MODEL": model, "VERDICT": files.md5(VERDICTS)}
    flags = [f"--build-arg={key}={value}" for key, value in arguments.items()]
    docker("build", *flags, *more, "--tag", name, ".", show=True)
    sbom.write(commit, model)
    return name


def digest(name: str) -> str:
    """Return the name of an image that the engine has pulled or pushed, with its digest."""
    # Docker leaves out the name of its own registry.
    repository = name.rpartition(":")[0].removeprefix("docker.io/").removeprefix("library/")
    digests: list[str] = inspect(name)["RepoDigests"]
    return next(one for one in digests if one.startswith(f"{repository}@"))


def _pull(name: str) -> bool:
    """Pull an image; return whether the registry has it.

    Raises:
        UserError: the registry did not answer.
    """
    try:
        docker("pull", "--quiet", name)
    except UserError as error:
        if not re.search("not found|(manifest|name) unknown|denied", str(error)):
            raise
        return False
    return True


def publish(repository: str) -> str:
    """Build and push the image of this commit, unless the registry has it; return its digest.

    Raises:
        UserError: as for `build`; or the registry's image of this commit has another model.
    """
    provenance.require_passed()
    name = f"{repository}:{git('rev-parse', 'HEAD')}"
    if _pull(name):
        model = inspect(name)["Config"]["Labels"].get("model.sha256")
        if model != sidecar.read(SIDECAR).model.sha256:
            raise UserError(
                f"{name}: exists with another model than models/model.json; make a new commit"
            )
        print(f"{name}: exists already; nothing to build", file=sys.stderr)
        sbom.write(git("rev-parse", "HEAD"), model)
    else:
        build(repository)
        docker("push", name, show=True)
    return digest(name)


def main() -> None:
    """Build the image and print its name; or also push it and print its digest."""
    parser = argparse.ArgumentParser(prog="src.delivery.image")
    parser.add_argument("command", choices=["build", "publish"])
    command = parser.parse_args().command
    repository = os.environ.get("REPOSITORY", "").lower()  # registries refuse capitals
    if command == "publish" and not repository:
        raise UserError(
            "REPOSITORY is not set; set it to the address to push to, as in ghcr.io/owner/name"
        )
    print(publish(repository) if command == "publish" else build(repository or project()))


if __name__ == "__main__":
    errors.run(main)
