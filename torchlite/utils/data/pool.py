"""The DataLoader's worker processes, as the main process sees them.

Why not `concurrent.futures`: its workers cannot be told apart (a stream must go on where it was), a hung one
cannot be ended, and they live on when the main process is killed. Here each worker has a process and a pipe
of its own.

Workers start by "forkserver" where the system has it and by "spawn" elsewhere. "fork" copies a process whose
other threads (BLAS, the compiled kernels, CUDA) just vanish, in whatever state their locks were. The price is
that the dataset must be picklable and that a script must guard its entry with ``if __name__ == "__main__":``.
Who needs neither threads nor the guard may pass ``multiprocessing_context="fork"``.
"""

import multiprocessing
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from typing import Any

from torchlite.utils.data.fetch import Fetcher
from torchlite.utils.data.transfer import receive
from torchlite.utils.data.worker import GRACE_S, Outcome, Task, run

MAX_RESTARTS = 3
"""How often a batch is read again because the worker that was reading it died."""


def default_context() -> BaseContext:
    """The context by which workers start unless one is given."""
    available = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("forkserver" if "forkserver" in available else "spawn")


@dataclass
class _Worker:
    id: int
    process: Any = None
    connection: Any = None
    pending: deque[Task] = field(default_factory=deque)
    restarts: int = 0
    has_answered: bool = False


class WorkerPool:
    """`num_workers` processes that read batches; task number n goes to worker n modulo `num_workers`.

    Each worker answers its tasks in order. A worker that dies is replaced and its tasks are sent again.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        num_workers: int,
        seed: int,
        init_fn: Callable[[int], None] | None,
        context: BaseContext,
    ) -> None:
        self.epoch = -1
        self._fetcher, self._seed, self._init_fn, self._context = fetcher, seed, init_fn, context
        self._workers = [_Worker(id) for id in range(num_workers)]
        self._finalizer = weakref.finalize(self, _close, self._workers, GRACE_S)
        try:
            for worker in self._workers:
                self._start(worker)
        except BaseException:
            self.close()
            raise

    def begin_epoch(self) -> int:
        """Number a new pass; what is still under way for the one before is of no interest any more."""
        self.epoch += 1
        return self.epoch

    def submit(self, number: int, seed: int, indices: Any) -> None:
        """Have batch `number` of this pass read."""
        worker = self._workers[number % len(self._workers)]
        task = Task(self.epoch, number, number // len(self._workers), seed, indices)
        worker.pending.append(task)
        if worker.connection is None:
            self._start(worker)
        self._send(worker, task)

    def receive(self, timeout_s: float | None) -> list[tuple[int, Outcome]]:
        """The answers (number, outcome) that are there for this pass; waits for one for at most `timeout_s`.

        Raises:
            RuntimeError: a worker died over the same batch too often.
        """
        by_source: dict[Any, _Worker] = {
            source: worker
            for worker in self._workers
            if worker.connection is not None
            for source in (worker.connection, worker.process.sentinel)
        }
        ready = {by_source[source].id for source in wait(by_source, timeout_s)}
        return [answer for id in sorted(ready) for answer in self._answers_of(self._workers[id])]

    def close(self, grace_s: float = GRACE_S) -> None:
        """End all workers: those that have not ended after `grace_s` are killed."""
        if self._finalizer.detach():
            _close(self._workers, grace_s)

    def _answers_of(self, worker: _Worker) -> list[tuple[int, Outcome]]:
        answers = []
        try:
            while worker.connection.poll():
                epoch, number, outcome = receive(worker.connection)
                worker.pending.popleft()
                worker.restarts, worker.has_answered = 0, True
                if epoch == self.epoch:
                    answers.append((number, outcome))
            died = not worker.process.is_alive() and not worker.connection.poll()
        except (EOFError, OSError):
            died = True
        if died:
            self._replace(worker)
        return answers

    def _replace(self, worker: _Worker) -> None:
        """Put a new process in the place of one that died, and send it the tasks that are still open."""
        exitcode = _close_worker(worker, GRACE_S)
        worker.pending = deque(task for task in worker.pending if task.epoch == self.epoch)
        if not worker.pending:
            return
        if worker.restarts == MAX_RESTARTS:
            raise RuntimeError(_death_message(worker, exitcode))
        worker.restarts += 1
        self._start(worker)
        for task in worker.pending:
            self._send(worker, task)

    def _start(self, worker: _Worker) -> None:
        ours, theirs = self._context.Pipe()
        inherited = [ours, *(other.connection for other in self._workers if other.connection is not None)]
        process = self._context.Process(  # type: ignore[attr-defined]
            target=run,
            args=(
                theirs,
                inherited if self._context.get_start_method() == "fork" else [],
                self._fetcher,
                (worker.id, len(self._workers), self._seed + worker.id),
                self._init_fn,
            ),
            name=f"DataLoader worker {worker.id}",
            daemon=True,
        )
        try:
            process.start()
        except (TypeError, AttributeError, ValueError, ImportError) as error:
            ours.close()
            raise TypeError(_unpicklable_message(self._fetcher, self._context, error)) from error
        finally:
            theirs.close()
        worker.process, worker.connection = process, ours

    def _send(self, worker: _Worker, task: Task) -> None:
        # A worker that is dead already is noticed, replaced and sent its tasks again by `receive`.
        with suppress(OSError):
            worker.connection.send(task)


def _close(workers: list[_Worker], grace_s: float) -> None:
    # First let go of all, so that they end at the same time.
    for worker in workers:
        if worker.connection is not None:
            worker.connection.close()
    for worker in workers:
        _close_worker(worker, grace_s)


def _close_worker(worker: _Worker, grace_s: float) -> int | None:
    """End the worker's process; its exit code, negative for a signal."""
    if worker.process is None:
        return None
    worker.connection.close()
    worker.process.join(grace_s)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    exitcode: int | None = worker.process.exitcode
    worker.process.close()
    worker.process, worker.connection = None, None
    return exitcode


def describe(number: int, indices: Any) -> str:
    """Which batch this is, for messages: its number in the pass and its indices."""
    if indices is None or (isinstance(indices, list) and not indices):
        return f"batch {number}"
    shown = indices if not isinstance(indices, list) or len(indices) <= 64 else f"{indices[:64]} and so on"
    return f"batch {number}, indices {shown}"


def _death_message(worker: _Worker, exitcode: int | None) -> str:
    task = worker.pending[0]
    message = (
        f"DataLoader worker {worker.id} exited unexpectedly (exit code {exitcode}) {MAX_RESTARTS + 1} times "
        f"while reading {describe(task.number, task.indices)}"
    )
    if exitcode == 1 and not worker.has_answered:
        message += (
            "; its own error is printed above. A script that uses num_workers > 0 must start its work under "
            '`if __name__ == "__main__":`'
        )
    return message


def _unpicklable_message(fetcher: Fetcher, context: BaseContext, error: Exception) -> str:
    return (
        f"the dataset ({type(fetcher.dataset).__name__}), collate_fn and worker_init_fn are sent to worker "
        f"processes by pickle (start method {context.get_start_method()!r}), which failed: {error}. "
        'Define them at the top level of a module, use num_workers=0, or pass multiprocessing_context="fork"'
    )
