"""Checkpointed segments against PyTorch's: gradients, gradients of gradients, how often a segment runs, its errors."""

import importlib
import warnings
from typing import Any

import numpy as np
import pytest
from oracle import BOTH, numbers, torch

import torchlite

X = np.linspace(-1, 1, 6).reshape(2, 3)


def run(program: Any) -> list[Any]:
    """What ``program(library, checkpoint module)`` gives with each library, an error as its type."""
    found = []
    for T in BOTH:
        module = importlib.import_module(f"{T.__name__}.utils.checkpoint")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found.append(program(T, module))
            except Exception as error:
                found.append(RuntimeError if isinstance(error, RuntimeError) else type(error))
    return found


def same(program: Any) -> Any:
    ours, theirs = run(program)
    if isinstance(theirs, type):
        assert ours is theirs
        return
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        if isinstance(b, torch.Tensor):
            np.testing.assert_allclose(numbers(a), numbers(b), rtol=1e-10)
        else:
            assert a == b


def leaf(T: Any) -> Any:
    return T.tensor(X, requires_grad=True)


def segment(x: Any) -> Any:
    return (x.sin() * x).exp().tanh() * x


@pytest.mark.parametrize("reentrant", [False, True])
def test_first_gradients(reentrant: bool) -> None:
    def program(T: Any, C: Any) -> Any:
        x = leaf(T)
        C.checkpoint(
            segment, C.checkpoint(segment, x, use_reentrant=reentrant), use_reentrant=reentrant
        ).sum().backward()
        return [x.grad]

    same(program)


@pytest.mark.parametrize("reentrant", [False, True])
def test_second_gradients(reentrant: bool) -> None:
    def program(T: Any, C: Any) -> Any:
        x = leaf(T)
        y = C.checkpoint(segment, x, use_reentrant=reentrant)
        (g,) = T.autograd.grad(y.sum(), x, create_graph=True)
        (h,) = T.autograd.grad((g**2).sum(), x, create_graph=True)
        return [g, h, T.autograd.grad(h.sum(), x)[0]]

    same(program)


def test_nested_segments() -> None:
    def program(T: Any, C: Any) -> Any:
        x, calls = leaf(T), []

        def inner(x: Any) -> Any:
            calls.append("inner")
            return segment(x)

        def outer(x: Any) -> Any:
            calls.append("outer")
            return C.checkpoint(inner, C.checkpoint(inner, x.cos(), use_reentrant=False), use_reentrant=False) * x

        y = C.checkpoint(outer, x, use_reentrant=False)
        (g,) = T.autograd.grad(y.sum(), x, create_graph=True)
        return [y, g, T.autograd.grad(g.sum(), x)[0]]

    same(program)


def test_how_often_a_segment_runs() -> None:
    def program(T: Any, C: Any) -> Any:
        counts = []
        for options in ({}, {"early_stop": False}):
            x, calls = leaf(T), []

            def counted(x: Any, calls: Any = calls) -> Any:
                y = segment(x)
                calls.append(1)
                return y

            y = C.checkpoint(counted, x, use_reentrant=False, **options).sum()
            counts.append(len(calls))
            y.backward(retain_graph=True)
            y.backward()
            counts.append(len(calls))
        return counts

    same(program)


def test_arguments_that_are_no_tensors() -> None:
    def program(T: Any, C: Any) -> Any:
        x, w = leaf(T), leaf(T)

        def f(n: int, x: Any, scale: Any) -> Any:
            return {"out": x * scale["by"] * n * w}, n

        out, n = C.checkpoint(f, 3, x, scale={"by": x * 2}, use_reentrant=False)
        out["out"].sum().backward()
        y = C.checkpoint(lambda n, x: (x * n * w, n), 3, x, use_reentrant=True)
        y[0].sum().backward()
        return [n, y[1], x.grad, w.grad]

    same(program)


def test_sequences() -> None:
    def program(T: Any, C: Any) -> Any:
        x = leaf(T)
        for segments in (1, 2, 3):
            for reentrant in (False, True):
                C.checkpoint_sequential(
                    [T.sin, T.exp, T.tanh, T.cos], segments, x * 1, use_reentrant=reentrant
                ).sum().backward()
        return [x.grad]

    same(program)


def differing(T: Any, what: str) -> Any:
    state = {"first": True}

    def function(x: Any) -> Any:
        first, state["first"] = state["first"], False
        if what == "count":
            return (x.exp() if first else x.exp().exp()) * 2 if first else x * 2
        return (x if first else x[:1]).exp().sin()

    return function


@pytest.mark.parametrize(
    "program",
    [
        lambda T, C: C.checkpoint(differing(T, "count"), leaf(T), use_reentrant=False).sum().backward(),
        lambda T, C: C.checkpoint(differing(T, "shape"), leaf(T), use_reentrant=False).sum().backward(),
        lambda T, C: T.autograd.grad(C.checkpoint(segment, x := leaf(T), use_reentrant=True).sum(), x),
        lambda T, C: C.checkpoint(segment, T.tensor(X), use_reentrant=True).sum().backward(),
        lambda T, C: C.checkpoint(segment, x=leaf(T), use_reentrant=True),
        lambda T, C: C.checkpoint(segment, leaf(T), use_reentrant=True, debug=True),
        lambda T, C: C.checkpoint(segment, leaf(T), use_reentrant=False, determinism_check="strict"),
    ],
)  # fmt: skip
def test_misuse(program: Any) -> None:
    ours, theirs = run(program)
    assert isinstance(theirs, type)
    assert ours is theirs


def test_the_difference_is_shown() -> None:
    from torchlite.utils.checkpoint import CheckpointError, checkpoint

    with pytest.raises(CheckpointError, match=r"(?s)position 0.*\[2, 3\].*\[1, 3\].*debug=True"):
        checkpoint(differing(torchlite, "shape"), leaf(torchlite), use_reentrant=False).sum().backward()
    with pytest.raises(
        CheckpointError, match=r"(?s)forward: ExpBackward0, MulBackward0\n.*recomputation: MulBackward0"
    ):
        checkpoint(differing(torchlite, "count"), leaf(torchlite), use_reentrant=False, debug=True).sum().backward()


def test_not_saying_which_way_warns() -> None:
    from torchlite.utils.checkpoint import checkpoint

    with pytest.warns(UserWarning, match="use_reentrant parameter should be passed explicitly"):
        checkpoint(segment, leaf(torchlite))
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        checkpoint(segment, torchlite.tensor(X), use_reentrant=True)
