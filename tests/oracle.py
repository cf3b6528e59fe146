"""PyTorch as the oracle: run one piece of code with both libraries and compare everything that can be seen.

Importing this skips the importing test module where torch is not installed.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import torchlite
import torchlite.nn

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # where processors are busy with other tests its threads wait for each other

BOTH = (torchlite, torch)
OUR_ERRORS: dict[type, type] = {
    NotImplementedError: RuntimeError,
    torch.linalg.LinAlgError: torchlite.linalg.LinAlgError,
}
TOLERANCE = {"float64": 1e-10, "float32": 2e-5, "float16": 2e-3, "bfloat16": 1.6e-2}


def tensors(array: Any, *, requires_grad: bool = False, dtype: str | None = None) -> tuple[Any, Any]:
    """The same numbers as a tensor of each library."""
    array = np.asarray(array)
    ours, theirs = torchlite.tensor(array), torch.tensor(array)
    if dtype is not None:
        ours, theirs = ours.to(getattr(torchlite, dtype)), theirs.to(getattr(torch, dtype))
    return ours.requires_grad_(requires_grad), theirs.requires_grad_(requires_grad)


def dtype_name(x: Any) -> str:
    return str(x.dtype).rpartition(".")[2]


def numbers(x: Any) -> np.ndarray[Any, Any]:
    """The elements as NumPy has them; bfloat16 as float32."""
    x = x.detach()
    if dtype_name(x) == "bfloat16":
        x = x.float()
    return np.asarray(x.numpy())


def assert_same(ours: Any, theirs: Any, *, tolerance: float | None = None, what: str = "") -> None:
    """Same type of value, shape, dtype, requires_grad and numbers; containers element by element."""
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, torchlite.Tensor), f"{what}: got {type(ours)}"
        assert tuple(ours.shape) == tuple(theirs.shape), f"{what}: shape {tuple(ours.shape)} != {tuple(theirs.shape)}"
        assert dtype_name(ours) == dtype_name(theirs), f"{what}: {ours.dtype} != {theirs.dtype}"
        assert ours.requires_grad == theirs.requires_grad, f"{what}: requires_grad {ours.requires_grad}"
        limit = TOLERANCE.get(dtype_name(theirs), 0.0) if tolerance is None else tolerance
        np.testing.assert_allclose(numbers(ours), numbers(theirs), rtol=limit, atol=limit, err_msg=what)
    elif isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs), f"{what}: {len(ours)} values != {len(theirs)}"
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(a, b, tolerance=tolerance, what=f"{what}[{i}]")
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs), what
        for key in theirs:
            assert_same(ours[key], theirs[key], tolerance=tolerance, what=f"{what}[{key}]")
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=tolerance or 1e-6, nan_ok=True), what
    elif isinstance(theirs, torch.dtype):
        assert str(ours) == str(theirs), what
    else:
        assert ours == theirs, f"{what}: {ours!r} != {theirs!r}"


def attempt(function: Callable[..., Any], *args: Any) -> tuple[Any, Exception | None]:
    try:
        with warnings.catch_warnings():
            if not args or args[0] is torch:
                warnings.simplefilter("ignore")
            return function(*args), None
    except Exception as error:
        return None, error


def same(function: Callable[..., Any], *arrays: Any, tolerance: float | None = None) -> None:
    """``function(library, *tensors)`` gives the same with both libraries, or an error of the same type with both.

    Where float64 arrays come in, gradients for random cotangents of all differentiable results are compared as well.
    """
    pairs = [tensors(a, requires_grad=np.asarray(a).dtype == np.float64) for a in arrays]
    ours, our_error = attempt(function, torchlite, *(p[0] for p in pairs))
    theirs, their_error = attempt(function, torch, *(p[1] for p in pairs))
    if their_error is not None:
        assert our_error is not None, f"torch raises {their_error!r}, torchlite gives {ours!r}"
        kind = OUR_ERRORS.get(type(their_error), type(their_error))
        assert isinstance(our_error, kind), f"{our_error!r} is no {their_error!r}"
        return
    if our_error is not None:
        raise our_error
    assert_same(ours, theirs, tolerance=tolerance)
    roots = [
        (a, b)
        for a, b in zip(flat(ours), flat(theirs), strict=True)
        if isinstance(b, torch.Tensor) and b.requires_grad and b.numel()
    ]
    if not roots or not any(p[1].requires_grad for p in pairs):
        return
    rng = np.random.default_rng(5)
    cotangents = [tensors(rng.normal(size=tuple(b.shape)), dtype=dtype_name(b)) for _, b in roots]
    torchlite.autograd.backward([a for a, _ in roots], [g for g, _ in cotangents])
    torch.autograd.backward([b for _, b in roots], [g for _, g in cotangents])
    for i, (a, b) in enumerate(pairs):
        if b.grad is None:
            assert a.grad is None or not numbers(a.grad).any(), f"input {i} has a gradient, torch's has none"
        else:
            assert a.grad is not None, f"input {i} has no gradient"
            assert_same(a.grad, b.grad, tolerance=tolerance, what=f"gradient of input {i}")


def flat(values: Any) -> list[Any]:
    return [y for x in values for y in flat(x)] if isinstance(values, (tuple, list)) else [values]


def shown(value: Any) -> Any:
    """What a value looks like, whichever library it is of."""
    if isinstance(value, (torch.Tensor, torchlite.Tensor)):
        return "tensor", repr(value), tuple(value.stride())
    if isinstance(value, np.ndarray):
        return "array", str(value.dtype), value.tolist()
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [shown(v) for v in value]
    return type(value).__name__, repr(value)


def looks_the_same(program: Callable[[Any], Any]) -> None:
    """``program(library)`` gives what prints alike in both libraries, or an error of the same type."""
    found = []
    for T in BOTH:
        try:
            with warnings.catch_warnings():
                if T is torch:  # its __array__ and __array_wrap__ are of NumPy 1
                    warnings.simplefilter("ignore")
                found.append(shown(program(T)))
        except Exception as error:
            found.append(RuntimeError if isinstance(error, NotImplementedError) else type(error))
    assert found[0] == found[1]
