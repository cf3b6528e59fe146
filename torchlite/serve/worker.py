"""The one thread that the model runs in, and the requests that wait for it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field

from torchlite.serve.refusal import Refused

Check = Callable[[], None]


@dataclass
class Job:
    """What waits: a computation, which calls `check` between its parts, and the time by which it has to be done."""

    work: Callable[[Check], bytes] | None
    due: float
    result: Future[bytes] = field(default_factory=Future)

    def __post_init__(self) -> None:
        self.result.add_done_callback(self._forget)

    def run(self) -> None:
        """Compute the result, or why there is none; nothing where nobody waits for it any more."""
        work = self.work
        if work is None or not self.result.set_running_or_notify_cancel():
            return
        try:
            self.check()
            answer = work(self.check)
        except Exception as error:
            self.result.set_exception(error)
        except BaseException as error:  # of the user's own code; the next one is to be answered
            self.result.set_exception(RuntimeError(repr(error)))
        else:
            self.result.set_result(answer)

    def check(self) -> None:
        """Give up when the time is over; whoever waited has been told."""
        if time.monotonic() >= self.due:
            raise too_late()

    def _forget(self, _result: Future[bytes]) -> None:
        self.work = None  # it holds the body, and one that is given up may still wait for its turn


def too_late() -> Refused:
    """What those hear whose time is over."""
    return Refused(504, "the answer would come behind the deadline; ask for less at a time, or later")


class Worker:
    """Runs one job after the other in a thread of its own, in the order in which they came.

    Args:
        waiting: how many jobs may wait for the one that runs.
    """

    def __init__(self, waiting: int) -> None:
        self._jobs: queue.Queue[Job | None] = queue.Queue(waiting)
        self._running = False
        self._thread = threading.Thread(target=self._run, name="torchlite-serve", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return self._jobs.qsize()

    @property
    def running(self) -> bool:
        """Whether a job runs."""
        return self._running

    @property
    def alive(self) -> bool:
        """Whether jobs are still taken."""
        return self._thread.is_alive()

    def submit(self, work: Callable[[Check], bytes], due: float) -> Future[bytes]:
        """Have something computed until the time ``due`` of the monotonic clock.

        Raises:
            Refused: when as many wait as may.
        """
        job = Job(work, due)
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise Refused(429, f"{self.waiting} requests are waiting; ask again later") from None
        return job.result

    def stop(self, patience_s: float) -> None:
        """Finish what was submitted, for so long at most, and take nothing more."""
        until = time.monotonic() + patience_s
        with suppress(queue.Full):
            self._jobs.put(None, timeout=patience_s)
            self._thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._running = True
            job.run()
            self._running = False
            del job
