"""The image's bill of materials beside the model, models/sbom.cdx.json, in CycloneDX's form."""

import json
import re
from pathlib import Path

from src.delivery.docker import project
from src.shared import files
from src.shared.paths import MODEL

LOCK = Path("requirements/serve.txt")
SBOM = MODEL.with_name("sbom.cdx.json")

# In a lock: name==version, for some platforms only, and the hashes of its files.
PACKAGE = re.compile(r"^([\w.-]+)==(\S+)(?: ; (.*?))? \\\n((?: +--hash=sha256:\w+.*\n?)+)", re.M)


def write(commit: str, model: str) -> None:
    """Write what the image of a commit holds: the packages of its lock and the model.

    A package lists the SHA-256 of each file that the lock allows; one of them is in the image.

    Args:
        commit: the commit that the image is of.
        model: the SHA-256 of the model.
    """
    components: list[dict[str, object]] = [
        {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
            "hashes": _hashes(re.findall(r"sha256:(\w+)", hashes)),
        }
        for name, version, platforms, hashes in PACKAGE.findall(LOCK.read_text(encoding="utf-8"))
        if "win32" not in platforms  # as of tzdata; the image is Linux
    ]
    components.append(
        {"type": "machine-learning-model", "name": MODEL.name, "hashes": _hashes([model])}
    )
    image = {"type": "container", "name": project(), "version": commit}
    content = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1}
    text = json.dumps(
        content | {"metadata": {"component": image}, "components": components}, indent=1
    )
    with files.replacing(SBOM) as (new,):
        new.write_text(f"{text}\n", encoding="utf-8", newline="\n")


def _hashes(digests: list[str]) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest} for digest in digests]
