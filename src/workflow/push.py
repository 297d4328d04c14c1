"""Push a model that passed to the remote, then check that the remote holds every output."""

import json
import os
import sys

from src.shared import files, provenance
from src.shared.errors import UserError, plain
from src.shared.paths import PROVENANCE
from src.workflow import state
from src.workflow.remote import dvc


def main() -> None:
    """Push to the remote, then check that it holds every output."""
    known = state.read()
    if not known.source:
        raise UserError("run `python -m src.workflow.source` first")
    provenance.require_passed()
    if known.judged != files.md5(PROVENANCE):
        raise UserError(
            "the metrics check has not passed this model, so it is not pushed; run "
            "`python -m src.workflow.champion main`"
        )
    if os.environ.get("PUSH") == "no":
        print("nothing is pushed: this is a trial on one's own machine")
        return
    if known.source == "cache":
        if os.environ.get("DVC_REMOTE_URL"):
            raise UserError(f"nothing was pushed: data from the cache: {known.why}")
        # A new project: nobody has set a secret yet.
        warning = f"::warning::nothing was pushed: data from the cache: {plain(known.why)}"
        print(warning, file=sys.__stdout__)  # past what keeps other lines from being commands
        return
    name, url = next(iter(known.sources.items()))
    dvc(name, url, "push", "--remote", name)
    status = json.loads(dvc(name, url, "data", "status", "--not-in-remote", "--json"))
    if lacking := sorted({*status.get("not_in_remote", []), *status.get("not_in_cache", [])}):
        raise UserError(f"remote {name} ({url}) does not hold {', '.join(lacking)} after the push")
    state.note(pushed=url)
    print(f"pushed to {name} ({url}), which holds every output")


if __name__ == "__main__":
    state.run(main)
