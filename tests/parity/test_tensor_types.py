"""Tensor types, limits of dtypes, questions about tensors and functions of every element, against torch."""

import numpy as np
import pytest
from oracle import BOTH, same, torch

import torchlite

X = np.random.default_rng(0).normal(size=(3, 4))
TYPES = ("BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor", "IntTensor",
         "LongTensor", "ShortTensor")  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_types_make_tensors_and_test_them(name):
    def call(lib):
        kind = getattr(lib, name)
        made = kind([1, 0, 2])
        assert isinstance(made, kind)
        assert not isinstance(made.to(lib.complex64), kind)
        return (
            made,
            kind().shape,
            kind(2, 3).shape,
            kind(lib.Size([4])).shape,
            kind.dtype,
            made.type(),
            made.new([3.0, 4.0]),
        )

    same(call)


def test_type_converts_to_dtypes_types_and_names():
    for target in ("dtype", "type", "name"):
        same(
            lambda lib, x, t=target: x.type(
                {"dtype": lib.int64, "type": lib.LongTensor, "name": "torch.LongTensor"}[t]
            ),
            X,
        )
    same(lambda lib, x: x.type("torch.NoTensor"), X)
    same(lambda lib: lib.FloatTensor(3.5))
    same(lambda lib: lib.FloatTensor(lib.ones(2, dtype=lib.int64)))


def test_the_default_tensor_type():
    def call(lib):
        lib.set_default_tensor_type(lib.DoubleTensor)
        try:
            return lib.ones(2)
        finally:
            lib.set_default_tensor_type("torch.FloatTensor")

    same(call)
    same(lambda lib: lib.set_default_tensor_type(3))


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64", "complex64"])
def test_finfo(name):
    ours, theirs = (lib.finfo(getattr(lib, name)) for lib in BOTH)
    assert repr(ours) == repr(theirs)
    for field in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype"):
        assert getattr(ours, field) == getattr(theirs, field)


@pytest.mark.parametrize("name", ["uint8", "int8", "int16", "int32", "int64"])
def test_iinfo(name):
    ours, theirs = (lib.iinfo(getattr(lib, name)) for lib in BOTH)
    assert [getattr(ours, f) for f in ("bits", "max", "min", "dtype")] == [
        getattr(theirs, f) for f in ("bits", "max", "min", "dtype")
    ]
    for kind, other in (("iinfo", "float32"), ("iinfo", "bool"), ("finfo", "int8")):
        same(lambda lib, k=kind, o=other: getattr(lib, k)(getattr(lib, o)))


def test_wide_unsigned_integers_do_not_combine():
    same(lambda lib: lib.tensor([1, 65535], dtype=lib.uint16).long())
    same(lambda lib: lib.promote_types(lib.uint16, lib.float32))
    same(lambda lib: lib.promote_types(lib.uint16, lib.int64))
    same(lambda lib: lib.tensor([1], dtype=lib.uint32) + lib.tensor([1]))


def test_questions():
    same(lambda lib, x: [lib.numel(x), x.ndimension(), x.get_device(), lib.is_signed(x), x.is_cpu, x.is_sparse], X)
    same(lambda lib, x: [lib.is_nonzero(x[0, 0]), lib.is_same_size(x, x.long()), lib.is_conj(x), lib.typename(x)], X)
    same(lambda lib, x: lib.is_nonzero(x), X)
    for pair in ((lambda lib: (lib.ones(2, dtype=lib.int8), 1.5)), (lambda lib: (1, 2.0)),
                 (lambda lib: (lib.tensor(1, dtype=lib.int16), lib.ones(2, dtype=lib.uint8)))):  # fmt: skip
        same(lambda lib, p=pair: lib.result_type(*p(lib)))
    same(lambda lib: [lib.pi, lib.e, lib.inf, lib.newaxis])


def test_functions_of_every_element():
    same(lambda lib, x: x.detach().clone().apply_(lambda v: v * 2 + 1), X)
    same(lambda lib, x: x.detach().clone().map_(x.detach()[0], lambda a, b: a * b), X)
    same(lambda lib, x: x.detach().clone().map2_(x.detach(), x.detach()[0], lambda a, b, c: a * b + c), X)
    same(lambda lib, x: (x * 1).apply_(abs), X)


def test_filling_diagonals():
    for shape, wrap in (((3, 5), False), ((7, 3), False), ((7, 3), True), ((2, 2, 2), False)):
        same(lambda lib, s=shape, w=wrap: lib.zeros(s).fill_diagonal_(2, wrap=w))
    same(lambda lib: lib.zeros(7, 6).t().fill_diagonal_(1))
    same(lambda lib: lib.zeros(3).fill_diagonal_(1))
    same(lambda lib: lib.zeros(2, 3, 2).fill_diagonal_(1))
    same(lambda lib, x: (x * 1).fill_diagonal_(0), X)


def test_operators_that_python_calls():
    def shifted(lib):
        x = lib.tensor([1, 2, 3])
        y = x.clone()
        y <<= 2
        y >>= 1
        y |= 1
        y &= 7
        y ^= 2
        return 1 << x, 64 >> x, y

    same(shifted)
    same(lambda lib, x: reversed(x), X)

    def divided(lib, x):
        y = x.detach() * 4
        y //= 2
        y %= 3
        y **= 2
        return y

    same(divided, X)


def test_fill_keeps_a_history_with_a_slope_of_zero():
    same(lambda lib, x: lib.fill(x, 2), X)
    same(lambda lib, x: (x * 1).fill_(2), X)
    same(lambda lib, x: (x * 1).zero_(), X)
    same(lambda lib, x, v: (x * 1).fill_(v[0]), X, X[0])
    same(lambda lib, x: lib.fill(x, lib.ones(1, dtype=lib.float64)), X)


def test_functions_in_place():
    def call(lib, x):
        y = x * 1
        assert lib.exp_(y) is y
        return lib.neg_(y * 1)

    same(call, X)


def test_gradient_histogram_and_vander_of_other_arguments():
    same(
        lambda lib, x: lib.gradient(
            x, spacing=(lib.tensor([0.0, 1.0, 3.0]).double(), lib.arange(4.0).double()), edge_order=2
        ),
        X,
    )
    same(lambda lib, x: lib.gradient(x, dim=1, spacing=2), X)
    same(lambda lib, x: lib.histogram(x.detach(), 4, weight=x.detach().abs(), density=True), X)
    same(lambda lib, x: lib.histogram(x.detach(), 4, range=(2.0, 1.0)), X)
    same(lambda lib: lib.histogram(lib.ones(3), 2))
    same(lambda lib, x: lib.vander(x[0].detach(), 3), X)
    same(lambda lib, x: lib.vander(x[0].detach(), increasing=True), X)
    same(lambda lib: lib.vander(lib.tensor([True, False])))


def test_running_extremes_with_nan():
    x = np.array([[1.0, 3.0, 3.0, np.nan, 9.0], [2.0, 1.0, 2.0, 1.0, 0.0]])
    same(lambda lib, x: lib.cummax(x, 1), x)
    same(lambda lib, x: lib.cummin(x, 1), x)


def test_threads_are_counted_and_set():
    before = torchlite.get_num_threads()
    torchlite.set_num_threads(1)
    assert torchlite.get_num_threads() == 1
    torchlite.set_num_threads(before)
    for wrong in (0, "2"):
        with pytest.raises(RuntimeError, match="set_num_threads"):
            torchlite.set_num_threads(wrong)
        with pytest.raises(RuntimeError, match="set_num_threads"):
            torch.set_num_threads(wrong)


def test_range_includes_its_end_and_warns():
    for lib in BOTH:
        with pytest.warns(UserWarning, match="deprecated"):
            assert lib.range(0, 2).tolist() == [0.0, 1.0, 2.0]


def test_deterministic_algorithms():
    def call(lib):
        try:
            lib.use_deterministic_algorithms(True, warn_only=True)
            warned = lib.get_deterministic_debug_mode(), lib.is_deterministic_algorithms_warn_only_enabled()
            lib.set_deterministic_debug_mode("error")
            return *warned, lib.get_deterministic_debug_mode(), lib.are_deterministic_algorithms_enabled()
        finally:
            lib.use_deterministic_algorithms(False)

    same(call)
    same(lambda lib: lib.set_deterministic_debug_mode(3))
    same(lambda lib: lib.use_deterministic_algorithms("yes"))


def test_memory_and_classes():
    same(lambda lib: [lib.zeros(2, 3, 4).permute(2, 0, 1).dim_order(), lib.zeros(2, 3).dense_dim()])
    same(lambda lib, x: x.is_pinned(), X)
    if not torch.cuda.is_available():
        same(lambda lib: lib.zeros(2).pin_memory())

    class Named(torchlite.Tensor):
        pass

    x = torchlite.ones(2)
    y = x.as_subclass(Named)
    y.mul_(2)
    assert type(y) is Named
    assert x.tolist() == [2, 2]


def test_hashes():
    same(lambda lib, x: lib.hash_tensor(x.detach(), 1).long(), X)
    same(lambda lib, x: lib.hash_tensor(x.long(), (0, 1), keepdim=True).long(), X * 5)
    same(lambda lib: lib.hash_tensor(lib.empty(0)))


def test_frombuffer():
    same(lambda lib: lib.frombuffer(bytearray(range(8)), dtype=lib.int32))
    same(lambda lib: lib.frombuffer(bytearray(range(10)), dtype=lib.int16, count=2, offset=3))
    for wrong in ({"count": 3}, {"count": 0}, {"offset": 9}, {"offset": -1}, {"offset": 1}):
        same(lambda lib, w=wrong: lib.frombuffer(bytearray(8), dtype=lib.int32, **w))
    same(lambda lib: lib.frombuffer(3, dtype=lib.int32))
    memory = bytearray(4)
    torchlite.frombuffer(memory, dtype=torchlite.uint8)[1] = 7
    assert memory[1] == 7


@pytest.mark.filterwarnings("ignore:torch.asarray")
def test_asarray_shares_or_copies():
    array = np.ones(3)
    for lib in BOTH:
        x = lib.ones(2, requires_grad=True)
        assert lib.asarray(x) is x
        assert lib.asarray(x, copy=True) is not x
        assert lib.asarray(x, copy=True).requires_grad
        assert not lib.asarray(x, requires_grad=False).requires_grad
        assert lib.asarray(array).data_ptr() == array.ctypes.data
        assert lib.asarray(array, copy=True).data_ptr() != array.ctypes.data
        assert lib.asarray([1.0], requires_grad=True).requires_grad
    same(lambda lib: lib.asarray(bytearray(8)))
    same(lambda lib: lib.asarray(np.float64(3)))
    same(lambda lib: lib.asarray(lib.ones(2), dtype=lib.int64, copy=False))
    same(lambda lib: lib.asarray([1, 2], copy=False))


def test_resize_that_is_not_in_place():
    for lib in BOTH:
        with pytest.warns(UserWarning, match="deprecated"):
            assert lib.ones(2, 3).resize(3, 2).shape == (3, 2)
        with pytest.warns(UserWarning, match="deprecated"), pytest.raises(RuntimeError):
            lib.ones(2, 3).resize(7)


@pytest.mark.parametrize(
    "first", ["int8", "uint8", "int32", "int64", "float16", "float32", "float64", "complex64", "complex128"]
)
def test_numbers_of_numpy_in_lists(first: str) -> None:
    one = getattr(np, first)(1)
    others = [getattr(np, d)(2) for d in ("uint8", "int8", "int32", "float16", "float32", "float64", "complex128")]
    for other in (*others, 2, 2.5, True, 2j):
        for data in ([one], [one, other], [[other], [one]]):
            assert str(torchlite.tensor(data).dtype) == str(torch.tensor(data).dtype)
    for T in (torchlite, torch):
        assert str(T.tensor([T.tensor(1, dtype=T.float16), one]).dtype) == str(torch.tensor([np.float16(1), one]).dtype)
