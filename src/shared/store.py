"""Stores: files that DVC keeps, by their hash, and folders with DVC's settings for their store."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from src.shared.errors import UserError


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


def folder(address: str) -> tuple[Any, str]:
    """Open a folder, here or in a store.

    Args:
        address: a path, an address such as s3://bucket/folder, or remote://NAME/folder, below one
            of DVC's remotes. In the bucket of a remote, that one's settings hold (endpoint,
            profile, keys); otherwise what the environment says.

    Returns:
        A file system of fsspec, and the folder's path in it.
    """
    if "://" not in address:
        import fsspec

        return fsspec.filesystem("file"), Path(address).absolute().as_posix()
    from dvc.config import Config
    from dvc.fs import get_cloud_fs

    config, place = Config.from_cwd(), urlsplit(address)
    same = (
        remote
        for remote in config["remote"].values()
        if urlsplit(remote["url"])[:2] == (place.scheme, place.netloc)
    )
    kind, settings, path = get_cloud_fs(config, **next(same, {}) | {"url": address})
    return kind(**settings).fs, str(path).rstrip("/")


@contextmanager
def reached(address: str) -> Iterator[None]:
    """Say in one line what a store does not do."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # whatever the packages of a store raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{address}: cannot be reached: {reason}") from None
