"""The dtypes and shapes of what `tensor` makes of numbers, and integers of NumPy wherever an integer is taken."""

from typing import Any

import numpy as np
import pytest

import torchlite
from torchlite.integers import integer
from torchlite.nn import functional as F

X = torchlite.arange(600.0).reshape(200, 3)

DTYPES = {
    "a scalar of NumPy": ([np.float64(1)], torchlite.float64),
    "nested": ([[np.int8(1)], [np.int8(2)]], torchlite.int8),
    "beside a float": ([np.float16(1), 2.5], torchlite.float32),
    "beside an integer": ([2, np.float16(1)], torchlite.float16),
    "beside a bool": ([np.uint8(1), True], torchlite.uint8),
    "two kinds": ([np.uint8(1), np.int8(1)], torchlite.int16),
    "complex": ([np.complex128(1), 2.5], torchlite.complex128),
    "rows of arrays": ([np.array([1, 2], np.int16), [3.5, 4]], torchlite.float32),
    "an empty row": ([np.zeros(0, np.int32)], torchlite.int32),
    "tensors": ([torchlite.tensor(1, dtype=torchlite.float16), 2], torchlite.float16),
    "a tensor that is not first": ([2.5, torchlite.tensor(1, dtype=torchlite.float64)], torchlite.float64),
    "halves of two kinds": ([torchlite.tensor(1.0).half(), torchlite.tensor(1.0).bfloat16()], torchlite.float32),
    "numbers of Python": ([1, 2.5], torchlite.float32),
}


@pytest.mark.parametrize("name", DTYPES)
def test_the_dtype_is_what_all_are_promoted_to(name: str) -> None:
    data, dtype = DTYPES[name]
    assert torchlite.tensor(data).dtype is torchlite.as_tensor(data).dtype is dtype


def test_a_tensor_of_one_element_is_a_number() -> None:
    assert torchlite.tensor([torchlite.ones(1), torchlite.ones(1, 1)]).shape == (2,)
    assert torchlite.tensor([torchlite.ones(2), torchlite.ones(2)]).shape == (2, 2)


REFUSED = {
    "too large": (([300], torchlite.uint8), RuntimeError),
    "of NumPy": (([np.int64(300)], torchlite.uint8), RuntimeError),
    "a tensor": (([torchlite.tensor(300)], torchlite.uint8), RuntimeError),
    "a fraction below 0": (([-0.5], torchlite.uint8), RuntimeError),
    "not a number": (([float("nan")], torchlite.int32), RuntimeError),
    "64 bits without a sign": (([2**63], None), ValueError),
    "more than 64 bits": (([2**70], None), ValueError),
    "complex": (([1j], torchlite.float32), TypeError),
}


@pytest.mark.parametrize("name", REFUSED)
def test_numbers_that_a_dtype_can_not_hold_are_refused(name: str) -> None:
    (data, dtype), error = REFUSED[name]
    with pytest.raises(error):
        torchlite.tensor(data, dtype=dtype)


def test_negative_integers_wrap_around_and_large_ones_become_floats() -> None:
    assert torchlite.tensor([-1], dtype=torchlite.uint8).tolist() == [255]
    assert torchlite.tensor([2**70], dtype=torchlite.float32).tolist() == [2.0**70]
    assert torchlite.tensor(np.array([300]), dtype=torchlite.uint8).tolist() == [44]


# Functions of a kind of integer, whose results at the widths of uint8 would overflow.
TAKING: dict[str, Any] = {
    "chunk": lambda n: X.chunk(n(3), n(0))[2],
    "unfold": lambda n: X.unfold(n(0), n(150), n(10)),
    "as_strided": lambda n: X.as_strided((n(100), n(3)), (n(4), n(1)), n(200)),
    "repeat": lambda n: torchlite.ones(100, 3).repeat(n(4), n(2)),
    "unflatten": lambda n: torchlite.ones(2, 600).unflatten(n(1), (n(200), n(3))),
    "narrow": lambda n: X.narrow(n(0), n(130), n(70)),
    "split": lambda n: X.split([n(130), n(70)])[1],
    "roll": lambda n: X.roll(n(199), n(0)),
    "triu": lambda n: torchlite.ones(200, 200).triu(n(150)),
    "triu_indices": lambda n: torchlite.triu_indices(n(20), n(0)),
    "diagonal": lambda n: torchlite.ones(100, 300).diagonal(n(150)),
    "linspace": lambda n: torchlite.linspace(0, 1, n(200)),
    "polygamma": lambda n: torchlite.polygamma(n(1), X + 1),
    "var": lambda n: X.var(n(0), correction=n(1)),
    "fft": lambda n: torchlite.fft.hfft(X, n(250), n(0)).abs(),
    "stft": lambda n: torchlite.stft(X[:, 0], n(16), n(4), return_complex=True).abs(),
    "matrix_power": lambda n: (X[:3] / 10).matrix_power(n(3)),
    "conv2d": lambda n: F.conv2d(torchlite.ones(1, 8, 6, 6), torchlite.ones(8, 2, 3, 3), groups=n(4)),
    "conv_transpose1d": lambda n: F.conv_transpose1d(torchlite.ones(1, 8, 6), torchlite.ones(8, 2, 3), groups=n(4)),
    "pixel_shuffle": lambda n: F.pixel_shuffle(torchlite.ones(1, 512, 2, 2), n(16)),
    "interpolate": lambda n: F.interpolate(X[None, None], scale_factor=n(2)),
    "embedding": lambda n: F.embedding(
        torchlite.tensor([199]), X.clone().requires_grad_(), padding_idx=n(199)
    ).detach(),
    "dimensions": lambda n: X.permute(n(1), n(0)).sum(n(1)).reshape(n(3), -1).unsqueeze(n(1)),
    "attention": lambda n: torchlite.ones(torchlite.nn.MultiheadAttention(n(128), n(4)).in_proj_weight.shape),
    "a cell": lambda n: torchlite.ones(torchlite.nn.LSTMCell(n(3), n(100)).weight_hh.shape),
}


@pytest.mark.parametrize("name", TAKING)
def test_integers_of_numpy_are_integers(name: str) -> None:
    expected, found = TAKING[name](int), TAKING[name](np.uint8)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found.numpy(), expected.numpy())


def test_fractions_are_no_integers() -> None:
    assert type(integer(np.uint8(3))) is int
    for number in (1.5, np.float32(1), "1"):
        with pytest.raises(TypeError):
            integer(number)
    with pytest.raises(TypeError):
        X.size(0.5)
