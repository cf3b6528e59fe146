"""``out=``: dtypes, resizing, memory and histories against torch."""

import warnings

import numpy as np
import pytest
from oracle import BOTH, same, torch

import torchlite

FLOATS, INTEGERS = np.random.default_rng(0).normal(size=(3, 4)), np.arange(12).reshape(3, 4)
DTYPES = ("float64", "float32", "int64", "int32", "bool")
# One function for each rule about the dtype of out, and some that PyTorch treats in a way of their own.
CALLS = {
    "add": lambda lib, x, **out: lib.add(x, x, **out),
    "div": lambda lib, x, **out: lib.div(x, 3, **out),
    "exp": lambda lib, x, **out: lib.exp(x, **out),
    "neg": lambda lib, x, **out: lib.neg(x, **out),
    "eq": lambda lib, x, **out: lib.eq(x, 1, **out),
    "isposinf": lambda lib, x, **out: lib.isposinf(x, **out),
    "where": lambda lib, x, **out: lib.where(x > 0, x, x, **out),
    "clamp": lambda lib, x, **out: lib.clamp(x, 0, 2, **out),
    "sum": lambda lib, x, **out: lib.sum(x, 0, **out),
    "prod": lambda lib, x, **out: lib.prod(x, 1, **out),
    "cumsum": lambda lib, x, **out: lib.cumsum(x, 1, **out),
    "amax": lambda lib, x, **out: lib.amax(x, 1, **out),
    "argmax": lambda lib, x, **out: lib.argmax(x, 1, **out),
    "cat": lambda lib, x, **out: lib.cat([x, x], 1, **out),
    "stack": lambda lib, x, **out: lib.stack([x, x], **out),
    "tril": lambda lib, x, **out: lib.tril(x, **out),
    "matmul": lambda lib, x, **out: lib.matmul(x, x.T, **out),
    "outer": lambda lib, x, **out: lib.outer(x[0], x[1], **out),
    "zeros": lambda lib, x, **out: lib.zeros(2, 3, **out),
    "arange": lambda lib, x, **out: lib.arange(5, **out),
    "linspace": lambda lib, x, **out: lib.linspace(0, 9, 4, **out),
    "index_select": lambda lib, x, **out: lib.index_select(x, 0, lib.tensor([2, 0]), **out),
    "take": lambda lib, x, **out: lib.take(x, lib.tensor([2, 0]), **out),
    "masked_select": lambda lib, x, **out: lib.masked_select(x, x > 0, **out),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("array", [FLOATS, INTEGERS], ids=["floats", "integers"])
@pytest.mark.parametrize("name", CALLS)
def test_dtypes_that_out_may_have(name, array, dtype):
    def call(lib, x):
        x = x.detach()
        out = lib.empty(0, dtype=getattr(lib, dtype))
        assert CALLS[name](lib, x, out=out) is out
        return out

    if array is INTEGERS and name == "exp" and dtype == "float64":
        same(call, array, tolerance=1e-6)  # PyTorch computes in float32, as here, but rounds otherwise
    else:
        same(call, array)


@pytest.mark.parametrize("name", ["max", "min", "sort", "kthvalue", "median", "mode", "cummax", "topk"])
def test_two_results(name):
    def call(lib, x):
        out = lib.empty(0, dtype=lib.float64), lib.empty(0, dtype=lib.int64)
        extra = (2, 1) if name in ("kthvalue", "topk") else (1,)
        result = getattr(lib, name)(x.detach(), *extra, out=out)
        assert result.values is out[0]
        assert result.indices is out[1]
        assert type(result).__name__.removesuffix("_out") == name
        return tuple(result)

    same(call, FLOATS)


@pytest.mark.parametrize("lib", BOTH, ids=["torchlite", "torch"])
def test_an_out_of_another_shape_is_resized_with_a_warning(lib):
    out = lib.zeros(2)
    with pytest.warns(UserWarning, match="was resized"):
        lib.add(lib.ones(3), 1, out=out)
    assert out.tolist() == [2, 2, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lib.add(lib.ones(4), 1, out=(empty := lib.empty(0)))
    assert empty.tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("lib", BOTH, ids=["torchlite", "torch"])
def test_writing_into_a_view(lib):
    base = lib.zeros(4, 3)
    lib.mul(lib.ones(3), 2, out=base[1])
    lib.sum(lib.ones(2, 4), 0, out=base[:, 2])
    assert base.tolist() == [[0, 0, 2], [2, 2, 2], [0, 0, 2], [0, 0, 2]]


@pytest.mark.parametrize("lib", BOTH, ids=["torchlite", "torch"])
def test_out_may_be_an_input_but_not_overlap_one(lib):
    x = lib.arange(5.0)
    assert lib.add(x, x, out=x).tolist() == [0, 2, 4, 6, 8]
    with pytest.raises(RuntimeError, match="single memory location"):
        lib.add(x[:-1], 1, out=x[1:])
    with pytest.raises(RuntimeError, match="single memory location"):
        lib.add(lib.ones(3), 1, out=lib.zeros(1).expand(3))


@pytest.mark.parametrize("lib", BOTH, ids=["torchlite", "torch"])
def test_no_gradients_through_out(lib):
    x = lib.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="automatic differentiation"):
        lib.exp(x, out=lib.empty(3))
    with pytest.raises(RuntimeError, match="automatic differentiation"):
        lib.exp(x.detach(), out=lib.empty(3, requires_grad=True))
    with lib.no_grad():
        assert not lib.exp(x, out=lib.empty(3)).requires_grad
    assert lib.argmax(x, 0, out=lib.empty(0, dtype=lib.int64)).item() == 0  # has no gradient to lose


@pytest.mark.parametrize("lib", BOTH, ids=["torchlite", "torch"])
def test_out_of_the_wrong_kind(lib):
    with pytest.raises(TypeError):
        lib.add(lib.ones(2), 1, out="x")
    with pytest.raises(TypeError):
        lib.sort(lib.ones(2), out=lib.empty(0))


def test_out_on_another_device():
    with pytest.raises(RuntimeError, match="device"):
        torchlite.add(torchlite.ones(2), 1, out=torchlite.empty(2, device="meta"))
    assert torchlite.zeros(2, out=torchlite.empty(0, device="meta")).is_meta


def test_named_results_print_and_index_like_pytorchs():
    ours, theirs = (lib.sort(lib.tensor([3.0, 1.0])) for lib in BOTH)
    assert repr(ours) == repr(theirs)
    assert ours.values is ours[0]
    assert [type(r).__match_args__ for r in (ours, theirs)] == [("values", "indices")] * 2
    with pytest.raises(TypeError, match="2-sequence"):
        torchlite.return_types.sort([1])


def test_return_types_have_pytorchs_fields():
    for name in dir(torchlite.return_types):
        kind = getattr(torchlite.return_types, name)
        if isinstance(kind, type) and issubclass(kind, tuple) and name != "Results":
            assert kind.__match_args__ == getattr(torch.return_types, name).__match_args__
