"""Functions of C as functions of Python: what they take, give and refuse, and that nothing is leaked or held up."""

import sys
import threading

import numpy as np
import pytest

from torchlite.backends.native import library, toolchain
from torchlite.backends.native.library import Family

TEXT = """
double total(const float *x, long n, double more) {
    double sum = more;
    for (long i = 0; x && i < n; i++) sum += x[i];
    return sum;
}
long length(long n) { return n; }
int is_half(float x) { return x == 0.5f; }
void add(float *x, float y) { *x += y; }
static volatile int open;
int passes(void) {
    for (long i = 0; i < 20000000000 && !open; i++);
    return open;
}
void let_pass(void) { open = 1; }
"""


@pytest.fixture(scope="module")
def family():
    if not toolchain.available():
        pytest.skip("kernels are switched off or can't be compiled")
    made = Family(total="and->d", length="n->n", is_half="f->i", add="af", passes="->i", let_pass="")
    made.text = library.text("parallel.h") + TEXT + made.text.removeprefix(library.text("parallel.h"))
    return made


def test_arguments_and_results_of_every_kind(family):
    x = np.arange(6, dtype=np.float32)
    assert family.total(x, 4, 0.25) == 6.25
    assert family.total(x[2:], np.int64(2), 0) == 5.0
    assert family.total(None, 4, 1.5) == 1.5
    assert family.length(-(1 << 62)) == -(1 << 62)
    assert family.is_half(np.float32(0.5)) == 1
    assert family.add(x, 2) is None
    assert x[0] == 2


def test_parts_of_arrays_and_arrays_of_other_classes(family, tmp_path):
    np.arange(4, dtype=np.float32).tofile(tmp_path / "numbers")
    assert family.total(np.memmap(tmp_path / "numbers", np.float32), 4, 0.0) == 6.0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((1, 2), "total takes 3 arguments, but got 2"),
        (([1.0], 1, 0.0), "expects an array"),
        ((b"12345678", 1, 0.0), "expects an array"),
        ((None, 1.5, 0.0), "float"),
        ((None, 1, "x"), "real number"),
    ],
)
def test_what_does_not_fit_is_refused(family, arguments, error):
    with pytest.raises(TypeError, match=error):
        family.total(*arguments)
    with pytest.raises(TypeError, match="keyword"):
        family.length(n=3)


def test_a_number_that_is_too_large_is_refused(family):
    with pytest.raises(OverflowError):
        family.length(1 << 64)


def test_references_are_given_back(family):
    x, number, calls = np.zeros(5, np.float32), 12345678, 10_000
    before = sys.getrefcount(x), sys.getrefcount(number), sys.getrefcount(None)
    for _ in range(calls):
        family.total(x, number % 5, 0.0)
        family.add(x, 1.0)
        family.length(number)
    after = sys.getrefcount(x), sys.getrefcount(number), sys.getrefcount(None)
    assert np.abs(np.subtract(after, before)).max() < calls / 2  # others have None, too


def test_other_threads_run_meanwhile(family):
    results = []
    waiting = threading.Thread(target=lambda: results.append(family.passes()))
    waiting.start()
    family.let_pass()
    waiting.join()
    assert results == [1]
