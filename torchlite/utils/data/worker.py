"""What a worker process of the DataLoader does."""

import os
import pickle
import queue
import random
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from torchlite.ops.generator import manual_seed
from torchlite.utils.data.fetch import Exhausted, Fetch, Fetcher
from torchlite.utils.data.transfer import Packed

GRACE_S = 1.0
"""How long a worker may take to end once the main process has let go of it or is gone."""


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker knows of itself: its number, how many there are, its seed, its copy of the dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """The `WorkerInfo` inside a worker process of a DataLoader, None elsewhere."""
    return _worker_info


class Task(NamedTuple):
    """One batch to read: the `number`-th of `epoch`, and the `position`-th that this worker reads in it."""

    epoch: int
    number: int
    position: int
    seed: int
    indices: Any


class Batch(NamedTuple):
    """A task's result."""

    data: Any


class End(NamedTuple):
    """A worker's stream has no further batch."""


class Failure(NamedTuple):
    """A task raised an exception; `kind` is its type where that can be sent."""

    kind: type[BaseException] | None
    name: str
    traceback: str


Outcome = Batch | End | Failure


def run(
    connection: "Connection[Any, Any]",
    inherited: "list[Connection[Any, Any]]",
    fetcher: Fetcher,
    info: tuple[int, int, int],
    init_fn: Callable[[int], None] | None,
) -> None:
    """Answer tasks until the main process closes the connection.

    `inherited` are the main process's ends of pipes that a fork copied: held open here, they would hide its end.
    """
    global _worker_info
    for other in inherited:
        other.close()
    # A dataset may call any method of its tensors, and these are attached by the modules of the whole namespace.
    import_module("torchlite.namespace")
    # Ctrl-C reaches the whole process group; the main process decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker_id, num_workers, seed = info
    _worker_info = WorkerInfo(worker_id, num_workers, seed, fetcher.dataset)
    tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, tasks), daemon=True).start()

    failed_init = _initialize(worker_id, seed, init_fn)
    reader = _Reader(fetcher, num_workers)
    while (task := tasks.get()) is not None:
        outcome = failed_init or _answer(reader, task)
        try:
            _packed(task, outcome).send(connection)
        except OSError:
            return


def _receive(connection: "Connection[Any, Any]", tasks: "queue.SimpleQueue[Task | None]") -> None:
    """Move tasks from the pipe into a queue, so that the main process never waits to send one."""
    try:
        while True:
            tasks.put(connection.recv())
    except (EOFError, OSError):
        # Let go, or the main process died: drop what was not begun, and do not outlive it by much.
        with suppress(queue.Empty):
            while True:
                tasks.get_nowait()
        tasks.put(None)
        time.sleep(GRACE_S)
    except Exception:
        # A task that cannot be unpickled: end, rather than wait for it for ever.
        traceback.print_exc()
    os._exit(1)


def _initialize(worker_id: int, seed: int, init_fn: Callable[[int], None] | None) -> Failure | None:
    _seed_everything(seed)
    try:
        if init_fn is not None:
            init_fn(worker_id)
    except Exception as error:
        return _failure(error)
    return None


class _Reader:
    """Reads batches of one pass after the other."""

    def __init__(self, fetcher: Fetcher, num_workers: int) -> None:
        self._fetcher = fetcher
        self._num_workers = num_workers
        self._epoch = -1
        self._position = 0
        self._fetch: Fetch | None = None

    def read(self, task: Task) -> Any:
        """The task's batch; a stream that is not there yet is read up to it."""
        if self._fetch is None or self._epoch != task.epoch:
            self._fetch, self._epoch, self._position = self._fetcher.open(), task.epoch, 0
        # A worker in the place of one that died finds the stream at its beginning.
        while self._fetcher.streams and self._position < task.position:
            behind = task.position - self._position
            self._read(self._fetch, task.number - behind * self._num_workers, task)
        return self._read(self._fetch, task.number, task)

    def _read(self, fetch: Fetch, number: int, task: Task) -> Any:
        # Seeded by batch, random numbers in a dataset depend neither on the worker nor on how often it died.
        _seed_everything(task.seed + number)
        self._position += 1
        return fetch(task.indices)


def _answer(reader: _Reader, task: Task) -> Outcome:
    try:
        return Batch(reader.read(task))
    except Exhausted:
        return End()
    except Exception as error:
        return _failure(error)


def _packed(task: Task, outcome: Outcome) -> Packed:
    try:
        return Packed((task.epoch, task.number, outcome))
    except Exception as error:
        return Packed((task.epoch, task.number, _failure(error)))


def _failure(error: Exception) -> Failure:
    kind, text = type(error), "".join(traceback.format_exception(error))
    try:
        pickle.dumps(kind)
    except Exception:
        return Failure(None, kind.__name__, text)
    return Failure(kind, kind.__name__, text)


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    manual_seed(seed)
