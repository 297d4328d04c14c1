"""Save and restore folders as actions/cache does, in ACTIONS_STORE/cache/KEY."""

import os
import shutil
import sys
from pathlib import Path


def renew(source: str, target: str) -> None:
    """Copy a file to where one may be that cannot be written, as those of DVC's cache."""
    Path(target).unlink(missing_ok=True)
    shutil.copy2(source, target)


store = Path(os.environ["ACTIONS_STORE"], "cache")
key, paths = os.environ["KEY"], os.environ["PATHS"].split()

if sys.argv[1] == "save":
    entry = store / key
    if entry.exists():  # as there: a key is written once
        print(f"{key} is in the cache already")
    else:
        for path in filter(os.path.exists, paths):
            shutil.copytree(path, entry / path)
        print(f"saved {key}")
else:
    entries = sorted(store.glob("*"), key=lambda entry: entry.stat().st_mtime, reverse=True)
    wanted = [key, *os.environ["RESTORE_KEYS"].split()]
    found = [entry for start in wanted for entry in entries if entry.name.startswith(start)]
    for entry in found[:1]:
        shutil.copytree(entry, ".", dirs_exist_ok=True, copy_function=renew)
    print(f"restored {found[0].name}" if found else "nothing to restore")
    with Path(os.environ["GITHUB_OUTPUT"]).open("a") as file:
        file.write(f"cache-hit={str(bool(found) and found[0].name == key).lower()}\n")
