"""One job after the other, as many as may wait, none behind its time."""

import gc
import threading
import time
import weakref

import pytest

from torchlite.serve.refusal import Refused
from torchlite.serve.worker import Worker


def later(seconds=60.0):
    return time.monotonic() + seconds


@pytest.fixture
def busy():
    """A worker with room for two, its thread held until `set`."""
    worker, go, begun = Worker(2), threading.Event(), threading.Event()

    def hold(_check):
        begun.set()
        go.wait(30)
        return b"held"

    first = worker.submit(hold, later())
    assert begun.wait(30)
    yield worker, go, first
    go.set()
    worker.stop(30)


def test_jobs_run_in_order_in_one_thread():
    worker, order = Worker(50), []
    results = [
        worker.submit(lambda _, i=i: order.append((i, threading.get_ident())) or b"%d" % i, later()) for i in range(50)
    ]
    assert [one.result(30) for one in results] == [b"%d" % i for i in range(50)]
    assert [i for i, _ in order] == list(range(50))
    assert len({thread for _, thread in order} | {threading.get_ident()}) == 2
    worker.stop(30)


def test_more_than_may_wait_are_refused(busy):
    worker, go, first = busy
    waiting = [worker.submit(lambda _: b"waited", later()) for _ in range(2)]
    assert worker.waiting == 2
    with pytest.raises(Refused, match="2 requests are waiting") as caught:
        worker.submit(lambda _: b"", later())
    assert caught.value.status == 429
    go.set()
    assert [one.result(30) for one in (first, *waiting)] == [b"held", b"waited", b"waited"]


def test_a_job_behind_its_time_is_not_begun(busy):
    worker, go, _ = busy
    ran: list[object] = []
    late = worker.submit(ran.append, time.monotonic())
    go.set()
    with pytest.raises(Refused, match="deadline") as caught:
        late.result(30)
    assert caught.value.status == 504
    assert not ran


def test_what_is_given_up_holds_nothing(busy):
    worker, go, _ = busy

    class Body:
        pass

    body = Body()
    watched = weakref.ref(body)
    given_up = worker.submit(lambda _, body=body: b"", later())
    del body
    assert given_up.cancel()
    gc.collect()
    assert watched() is None
    go.set()
    assert worker.submit(lambda _: b"next", later()).result(30) == b"next"


@pytest.mark.parametrize("error", [ValueError("no"), MemoryError(), SystemExit(3), KeyboardInterrupt()])
def test_a_failure_belongs_to_the_one_who_asked(error):
    def fail(_check):
        raise error

    worker = Worker(2)
    with pytest.raises(type(error) if isinstance(error, Exception) else RuntimeError):
        worker.submit(fail, later()).result(30)
    assert worker.submit(lambda _: b"next", later()).result(30) == b"next"
    assert worker.alive
    worker.stop(30)
    assert not worker.alive


def test_stopping_finishes_what_waits(busy):
    worker, go, first = busy
    waiting = worker.submit(lambda _: b"waited", later())
    threading.Timer(0.05, go.set).start()
    worker.stop(30)
    assert (first.result(0), waiting.result(0)) == (b"held", b"waited")
