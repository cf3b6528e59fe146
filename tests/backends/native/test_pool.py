"""The pool of threads: every task once, any number of threads, forks, and tasks that have tasks."""

import ctypes
import os
import threading

import numpy as np
import pytest

import torchlite
from torchlite.backends.native import kernel, library, toolchain

COUNTING = """
static _Atomic long total;
static void one(void *argument, long index) { ((int *)argument)[index] += 1; total += index; }
long count(int *times, long n) { total = 0; parallel(one, times, n); return total; }
static void nested(void *argument, long index) { parallel(one, (int *)argument + 10 * index, 10); }
void count_nested(int *times, long n) { parallel(nested, times, n); }
"""


@pytest.fixture(scope="module")
def counting():
    try:
        loaded = library.load(library.text("parallel.h") + COUNTING)
    except toolchain.Unavailable as error:
        pytest.skip(str(error))
    loaded.count.argtypes = loaded.count_nested.argtypes = [ctypes.c_void_p, ctypes.c_long]
    loaded.count.restype = ctypes.c_long
    return loaded


@pytest.fixture
def threads():
    before = torchlite.get_num_threads()
    yield torchlite.set_num_threads
    torchlite.set_num_threads(before)


def counted(counting, n):
    times = np.zeros(n, np.intc)
    assert counting.count(times.ctypes.data, n) == n * (n - 1) // 2
    return times


@pytest.mark.parametrize("number", [1, 2, 5, 3])
def test_every_task_is_done_once(counting, threads, number):
    threads(number)
    for n in (0, 1, 2, 1000):
        for _ in range(20):
            assert (counted(counting, n) == 1).all()


def test_a_task_may_have_tasks(counting, threads):
    threads(3)
    times = np.zeros(200, np.intc)
    counting.count_nested(times.ctypes.data, 20)
    assert (times == 1).all()


def test_several_threads_of_python_may_call_kernels(counting, threads):
    threads(2)
    seen = []

    def work():
        seen.append(all((counted_own(counting, 50) == 1).all() for _ in range(50)))

    started = [threading.Thread(target=work) for _ in range(4)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    assert seen == [True] * 4


def counted_own(counting, n):
    """As `counted`, without the sum, which all callers share."""
    times = np.zeros(n, np.intc)
    counting.count(times.ctypes.data, n)
    return times


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_has_a_pool_of_its_own(counting, threads):
    threads(3)
    counted(counting, 100)
    child = os.fork()
    if child == 0:
        os._exit(0 if (counted_own(counting, 100) == 1).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert (counted(counting, 100) == 1).all()


def test_results_do_not_depend_on_the_number_of_threads(counting, threads):
    gelu = kernel("elementwise.gelu")
    if gelu is None:
        pytest.skip("kernels are switched off")
    x = np.random.default_rng(0).normal(size=100_001).astype(np.float32)
    results = []
    for number in (1, 3):
        threads(number)
        results.append(gelu(x, approximate="none"))
    np.testing.assert_array_equal(*results)
