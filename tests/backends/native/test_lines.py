"""Tensors begin at lines of the caches and own their memory; NumPy's own arrays lie as ever."""

import functools
import pickle
import threading

import numpy as np
import pytest
from numpy._core.multiarray import get_handler_name

import torchlite as torch
from torchlite.backends.memory import address
from torchlite.backends.native import lines
from torchlite.backends.native.lines import LEAST, at_lines

LINE = 64
pytestmark = pytest.mark.usefixtures("needs_compiler")


def begins_at_a_line(x):
    return address(x._data) % LINE == 0


@pytest.mark.parametrize(
    "make",
    [
        torch.empty,
        torch.zeros,
        torch.ones,
        lambda n: torch.full((n,), 2.5),
        lambda n: torch.zeros_like(torch.tensor([1.0]).expand(n)),
    ],
)
def test_new_tensors_begin_at_lines_and_own_their_memory(make):
    for n in (LEAST // 4, LEAST // 4 + 1, 50_000):
        x = make(n)
        assert begins_at_a_line(x)
        assert x._data.base is None
        assert x._data.flags.owndata
        assert x.untyped_storage().nbytes() == x.numel() * 4


@pytest.mark.parametrize("make", [torch.rand, torch.randn])
def test_random_tensors_begin_at_lines(make):
    assert all(begins_at_a_line(make(n, LEAST)) for n in (1, 3))


def test_parameters_states_of_optimizers_and_batches_begin_at_lines():
    model = torch.nn.Linear(200, 50)
    optimizer = torch.optim.Adam(model.parameters())
    dataset = torch.utils.data.TensorDataset(torch.ones(90, 200), torch.arange(90))
    for x, _ in torch.utils.data.DataLoader(dataset, batch_size=30):
        assert begins_at_a_line(x)
        model(x).sum().backward()
        optimizer.step()
    state = optimizer.state[model.weight]
    assert all(map(begins_at_a_line, (model.weight, state["exp_avg"], state["exp_avg_sq"])))


def test_arrays_of_others_lie_as_ever():
    before = get_handler_name(np.empty(1))
    torch.zeros(LEAST)
    assert get_handler_name(np.empty(LEAST)) == before
    with pytest.raises(ZeroDivisionError), at_lines():
        assert get_handler_name(np.empty(LEAST)) == "torchlite_lines"
        with at_lines():
            pass
        assert get_handler_name(np.empty(LEAST)) == "torchlite_lines"
        _ = 1 / 0
    assert get_handler_name(np.empty(LEAST)) == before
    assert get_handler_name(torch.zeros(LEAST // 4 - 1)._data) == before


def test_zeros_are_zeros_where_other_numbers_were():
    for n in (LEAST, 3_000_000):
        for _ in range(3):
            torch.empty(n).fill_(7.0)
            x = torch.zeros(n)
            assert begins_at_a_line(x)
            assert not x._data.any()


def test_memory_that_grows_and_shrinks_keeps_its_numbers():
    x = torch.arange(2000.0)
    with at_lines():
        array = np.arange(2000.0)
    for n in (2001, 70_000, 4_000_000, 3000, 1500):
        array.resize(n, refcheck=False)
        assert address(array) % LINE == 0
        np.testing.assert_array_equal(array[:1500], x.numpy()[:1500])
    assert not array[2000:].any()
    array.resize(0, refcheck=False)
    array.resize(5, refcheck=False)
    assert not array[1:].any()


def test_more_memory_than_there_is():
    for make in (np.empty, np.zeros):
        with at_lines(), pytest.raises((MemoryError, ValueError)):
            make((1 << 63) - 70, np.uint8)
    with at_lines():
        array = np.ones(600)
    with pytest.raises(MemoryError):
        array.resize(1 << 58, refcheck=False)
    assert array.sum() == 600


def test_tensors_made_in_one_thread_may_end_in_another():
    made = []
    thread = threading.Thread(target=lambda: made.extend(torch.ones(n) for n in range(LEAST, LEAST + 50)))
    thread.start()
    thread.join()
    assert all(map(begins_at_a_line, made))
    assert pickle.loads(pickle.dumps(made[0])).sum() == LEAST
    made.clear()


def test_nothing_changes_without_kernels_or_a_compiler(monkeypatch):
    before = get_handler_name(np.empty(1))

    for variable, value in (("CC", "no-such-compiler"), ("TORCHLITE_NATIVE", "0")):
        monkeypatch.setenv(variable, value)
        monkeypatch.setattr(lines, "_allocator", functools.cache(lines._allocator.__wrapped__))
        assert get_handler_name(torch.zeros(5000)._data) == before
