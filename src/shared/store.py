"""Files that DVC keeps, fetched into its cache by their hash."""

import logging
from collections.abc import Iterable
from pathlib import Path


def fetch(md5: str, remotes: Iterable[str | None]) -> tuple[Path, dict[str | None, str]]:
    """Fetch a file into the cache, unless it is there.

    Args:
        md5: its hash.
        remotes: the names of those to ask, in this order; None is the default one.

    Returns:
        Where the cache has it, if it came; and of each remote that failed its error.
    """
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo

    logging.getLogger("dvc").setLevel(logging.ERROR)  # it warns of a file that nobody has
    failed: dict[str | None, str] = {}
    with Repo() as repo:
        path = Path(repo.cache.local.oid_to_path(md5))
        for remote in remotes:
            if path.exists():
                break
            try:
                repo.cloud.pull([HashInfo("md5", md5)], remote=remote)
            except Exception as error:  # whatever the packages of a store raise
                failed[remote] = str(error)
    return path, failed
