"""A Dask cluster: where the environment names one, all that uses joblib runs there.

Its workers, and its scheduler, need the packages, and neither the project's files nor a shared
disk: what is the project's own is sent as code, not as the name of a module.
"""

import _thread
import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from sklearn.pipeline import Pipeline

from src.shared.errors import UserError

ADDRESS = "DASK_SCHEDULER_ADDRESS"
PATIENCE = 5  # seconds in which a scheduler must answer and have a worker
RETURN = 30  # seconds in which workers that died must be replaced, and full ones have room again
HOW = "docs/scale.md says how to start one"
GONE = "the scheduler is gone; start it again, then run this again"
# What sends and receives, beside what the model is made of.
CARRIERS = ("python", "dask", "distributed", "cloudpickle", "joblib")


@contextmanager
def joined(packages: Iterable[str], own: Iterable[Path] = ()) -> Iterator[Any]:
    """Run what uses joblib on the cluster that the environment names; here if it names none.

    Args:
        packages: that must have the same version there, by the names that pip knows.
        own: files of the project, from its root, that the model is made of.

    Yields:
        Dask's client, or None.

    Raises:
        UserError: there is no such cluster, a worker has other packages, or it went away.
    """
    address = os.environ.get(ADDRESS)
    if not address:
        yield None
        return
    packages = list(dict.fromkeys([*CARRIERS, *packages]))
    modules = {"src", *(path.parts[0].removesuffix(".py") for path in own)}
    problems: list[str] = []

    def stop(problem: str) -> None:
        if not problems:  # else the run is ending already
            problems.append(problem)
            _interrupt()

    with _quiet(), _interruptible(), _connected(address) as client:
        require_versions(client.get_versions(packages=packages), packages)
        client.loop.add_callback(_watch, client, stop)
        try:
            with _as_code(modules, stop), joblib.parallel_config(_backend(client)):
                yield client
        except KeyboardInterrupt:
            if not problems:
                raise
        except Exception as error:
            kind = type(error).__name__
            if kind == "KilledWorker":
                problems.append(
                    "workers died one after another over the same task, probably for want of "
                    "memory: give them more, or see docs/scale.md"
                )
            elif kind == "CommClosedError" or client.status == "connecting":
                problems.append(GONE)  # a call may notice it before `_watch` does
            else:
                raise
        if problems:
            raise UserError(f"{ADDRESS}: {address}: {problems[0]}")


@dataclass(frozen=True)
class _Alone:
    """A job of which no part is sent on: its own jobs run one after another where it runs."""

    job: Any

    def __call__(self, *args: Any, **options: Any) -> Any:
        with joblib.parallel_config("sequential"):
            return self.job(*args, **options)


def _backend(client: Any) -> Any:
    """Return the backend of joblib that sends jobs to the cluster.

    Unlike joblib's own it sends no jobs of jobs, such as each tree of each candidate, which takes
    longer than to grow it; and whoever asks for one job at a time gets that, in this process. What
    a search wants to be told of its fits it is told here, when they are done.
    """
    from joblib._dask import DaskDistributedBackend
    from joblib._parallel_backends import FallbackToBackend, SequentialBackend

    class Backend(DaskDistributedBackend):  # type: ignore[misc]
        def configure(self, n_jobs: int = 1, *args: Any, **options: Any) -> int:
            if n_jobs == 1:
                raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
            return int(super().configure(n_jobs, *args, **options))

        def submit(self, func: Any, callback: Any = None) -> Any:
            contexts = [_context_of(options) for _, _, options in func.items]
            func.items = [(_Alone(job), args, options) for job, args, options in func.items]

            def done(result: Any) -> None:
                for context in filter(None, contexts):
                    context.call_on_fit_task_end(estimator=None)
                if callback is not None:
                    callback(result)

            return super().submit(func, done)

    return Backend(client=client)


def _context_of(options: dict[str, Any]) -> Any:
    """Take from what scikit-learn gives a fit of a search that by which callbacks are told of it.

    It leads to all fits of the search, with which it would be sent.
    """
    if not {"callback_ctx", "caller"} <= options.keys():  # another job
        return None
    options["caller"] = None
    return options.pop("callback_ctx")


def learn_here(model: Pipeline, frame: pd.DataFrame, target: pd.Series) -> Any:
    """Fit all steps of a pipeline but the last, in this process, wherever other jobs go.

    To send the columns away and fetch them back takes longer than to scale them.

    Returns:
        The rows as the last step takes them, shape (rows, features).
    """
    with joblib.parallel_config("sequential"):
        return model[:-1].fit_transform(frame, target)


class WorkerLostError(Exception):
    """A worker died, and with it what only it had."""


@contextmanager
def keeping(client: Any, workers: Iterable[str]) -> Iterator[None]:
    """Stop what runs when one of these workers is gone: others may wait for it for ever.

    Raises:
        WorkerLostError: it is.
    """
    over, lost = False, set[str]()

    async def look() -> None:
        while not (over or lost):
            await asyncio.sleep(0.5)
            with contextlib.suppress(OSError):  # the scheduler is gone, which others say
                there = await client.scheduler.identity(n_workers=-1)
                lost.update(set(workers) - set(there["workers"]))
        if not over:
            _interrupt()

    client.loop.add_callback(look)
    try:
        yield
    except (KeyboardInterrupt, Exception) as error:
        over = True
        if not lost and client.status == "running" and isinstance(error, Exception):
            lost.update(set(workers) - set(client.scheduler_info(n_workers=-1)["workers"]))
        if not lost:
            raise
        raise WorkerLostError(f"lost {len(lost)} of {len(list(workers))} workers") from None
    finally:
        over = True


def workers_of(client: Any) -> list[str]:
    """Return the addresses of all workers; wait for one, as nannies may be replacing the last.

    Raises:
        UserError: none comes.
    """
    try:
        client.wait_for_workers(1, timeout=RETURN)
    except TimeoutError:
        raise UserError(f"{ADDRESS}: the last worker died; {HOW}") from None
    return sorted(client.scheduler_info(n_workers=-1)["workers"])


def restart(client: Any, workers: list[str]) -> bool:
    """Have the workers' nannies replace those that are left, which may hang, and wait for all.

    Returns:
        Whether they could: False, and nothing is done, where one of them has no nanny.
    """
    there = client.scheduler_info(n_workers=-1)["workers"]
    left = [one for one in workers if one in there]
    if not all(there[one]["nanny"] for one in left):
        return False
    with contextlib.suppress(KeyError):  # one has died by now
        client.restart_workers(left, timeout=RETURN, raise_for_error=False)
    with contextlib.suppress(TimeoutError):  # then it goes on with those that are back
        client.wait_for_workers(len(workers), timeout=RETURN)
    return True


def _interrupt() -> None:
    """Interrupt the main thread, which waits for what will not come."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let the main thread be interrupted, though whoever started it may ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Print nothing of what Dask logs: what matters is said in one line."""
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Connect to a scheduler that has at least one worker."""
    try:
        import dask
        import distributed
    except ImportError:
        raise UserError(
            f"{ADDRESS} is set, but Dask is not installed: install requirements/cluster.txt "
            "(docs/scale.md), or unset it"
        ) from None

    class Client(distributed.Client):  # type: ignore[misc]
        """A client whose data outlives a worker that has it: the scheduler can send it again."""

        def scatter(self, data: Any, *args: Any, **options: Any) -> Any:
            if options.get("asynchronous"):  # as joblib calls it
                return self._keep(data)
            return super().scatter(data, *args, **options)

        async def _keep(self, data: Any) -> Any:
            return self.submit(_same, data, pure=False)

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(?s).*Mismatched versions")
            client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{ADDRESS}: no scheduler at {address}: {reason}; {HOW}") from None
    limit = {"distributed.admin.large-graph-warning-threshold": sys.maxsize}
    with client, dask.config.set(limit):
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise UserError(f"{ADDRESS}: {address} has no worker; {HOW}") from None
        yield client


def _same(data: Any) -> Any:
    return data


async def _watch(client: Any, stop: Any) -> None:
    """Stop the run when the scheduler is gone: what it was to send will never come."""
    while client.status == "running":
        await asyncio.sleep(0.5)
    if client.status == "connecting":
        stop(GONE)


def require_versions(found: dict[str, Any], packages: Iterable[str]) -> None:
    """Check that scheduler and workers have the same packages as this process.

    Args:
        found: what Dask's `Client.get_versions` returns.
        packages: that matter, by the names that pip knows.

    Raises:
        UserError: one has another version, or none. The message names the first such place.
    """
    here = found["client"]
    places = {"the scheduler": found["scheduler"]}
    places |= {f"the worker {name}": there for name, there in found["workers"].items()}
    for place, there in places.items():
        wrong = [
            f"{name} {_version(there, name)} (here: {_version(here, name)})"
            for name in packages
            if _version(there, name) != _version(here, name)
        ]
        if wrong:
            raise UserError(
                f"{ADDRESS}: {place} has {', '.join(wrong)}; install the same requirements there"
            )


def _version(place: dict[str, Any], name: str) -> str:
    version = str(place["packages"].get(name) or "not installed")
    # Code is the same for 3.11.7 and 3.11.9.
    return ".".join(version.split(".")[:2]) if name == "python" else version


@contextmanager
def _as_code(modules: set[str], stop: Any) -> Iterator[None]:
    """Let what is defined in these modules be sent as code.

    Dask sends by name whatever can be imported here, without looking for what must not be.
    """
    import cloudpickle
    from distributed.protocol.serialize import (
        pickle_dumps,
        pickle_loads,
        register_serialization_family,
    )

    def dumps(
        value: Any, context: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], list[Any]]:
        buffers: list[Any] = []
        try:
            protocol = (context or {}).get("pickle-protocol")
            pickled = cloudpickle.dumps(value, protocol, buffer_callback=buffers.append)
        except Exception as error:
            stop(f"cannot be sent: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
            raise
        frames = [memoryview(one) for one in buffers]
        writeable = tuple(not one.readonly for one in frames)
        return {"serializer": "pickle", "writeable": writeable}, [pickled, *frames]

    for name in modules:
        cloudpickle.register_pickle_by_value(sys.modules[name])
    register_serialization_family("pickle", dumps, pickle_loads)
    try:
        yield
    finally:
        register_serialization_family("pickle", pickle_dumps, pickle_loads)
        for name in modules:
            cloudpickle.unregister_pickle_by_value(sys.modules[name])
