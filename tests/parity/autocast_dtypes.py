"""Which dtypes operators give under `autocast`, beside PyTorch: every entry of op_db, on the CPU and on CUDA.

PyTorch needs no GPU to say the dtypes on one, because it follows fake tensors; torchlite runs on the simulated one.
"""

import functools
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from parity.op_db import (
    OPERATORS,
    converted,
    mapped,
    operator_of,
    samples_of,
    tensors_in,
    torch,
)
from torch._subclasses.fake_tensor import FakeTensorMode

from torchlite.autocasting import enable

LOWER = {"cpu": "bfloat16", "cuda": "float16"}
# Functions of listed operators, which must not show through where PyTorch has one operator.
MADE_OF_OTHERS = (
    *(
        "__r",
        "cov",
        "corrcoef",
        "cumulative_trapezoid",
        "histc",
        "inner",
        "ldexp",
        "logaddexp",
        "logcumsumexp",
        "logit",
    ),
    *(
        "mean",
        "multinomial",
        "mvlgamma",
        "nanmean",
        "nansum",
        "nan",
        "normal",
        "outer",
        "pca",
        "renorm",
        "square",
        "std",
    ),
    *("sum_to", "svd_", "trapezoid", "trapz", "var", "vander", "view_as_complex"),
)
INPUTS = ("float32", "lower", "mixed")
SAMPLES = 1


def concerned(name: str) -> bool:
    """Whether PyTorch's autocasting lists an operator for some device, or it is of a kind made of such operators."""
    info = OPERATORS[name]
    last = name.split(".")[-1]
    families = ("nn.functional.", "linalg.", "fft.", "masked.", "special.")
    return name.startswith((*families, *MADE_OF_OTHERS)) or bool({last, info.aten_name} & listed())


@functools.cache
def listed() -> set[str]:
    """The operators of ATen that have a kernel for autocasting, without the names of overloads."""
    names = set()
    for name in torch._C._dispatch_get_all_op_names():
        lines = torch._C._dispatch_dump(name).splitlines() if name.startswith("aten::") else []
        if any(line.startswith(("AutocastCPU:", "AutocastCUDA:")) and "fallthrough" not in line for line in lines):
            names.add(name.removeprefix("aten::").partition(".")[0].removeprefix("linalg_"))
    return names


def differences(name: str, device: str) -> Iterator[str]:
    """The calls of an entry whose dtypes under autocast differ from PyTorch's."""
    info = OPERATORS[name]
    ours = operator_of(info)
    if ours is None or torch.float32 not in info.supported_dtypes("cpu"):
        return
    samples = list(samples_of(info, torch.float32, False))
    for sample, inputs in itertools.product(samples[:: max(1, -(-len(samples) // SAMPLES))], INPUTS):
        args = _as_dtypes((sample.input, *sample.args, sample.kwargs), device, inputs)
        expected = _theirs(info.op, args, device)
        if expected is None:
            continue
        got = _mine(ours, args, device)
        if got != expected:
            yield f"{name} on {device} from {inputs} inputs: {got} instead of {expected}"


def _as_dtypes(value: Any, device: str, inputs: str) -> Any:
    """The arguments with float32 tensors as they are, all in the lower dtype, or by turns."""
    turns = itertools.cycle({"float32": (False,), "lower": (True,), "mixed": (False, True)}[inputs])
    lower = getattr(torch, LOWER[device])
    return mapped(value, lambda x: x.to(lower) if x.dtype is torch.float32 and next(turns) else x)


def _theirs(function: Callable[..., Any], args: Any, device: str) -> list[str] | None:
    """The dtypes of PyTorch's results, None where it raises."""
    torch.manual_seed(0)
    torch.set_autocast_enabled(device, True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if device == "cpu":
                *args, kwargs = args
                return _dtypes(function(*args, **kwargs))
            with FakeTensorMode():
                *args, kwargs = mapped(args, _fake_on_cuda)
                return _dtypes(function(*args, **kwargs))
    except Exception:
        return None
    finally:
        torch.set_autocast_enabled(device, False)


def _fake_on_cuda(x: Any) -> Any:
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="cuda")


def _mine(function: Callable[..., Any], args: Any, device: str) -> list[str] | str:
    *args, kwargs = converted(args) if device == "cpu" else mapped(converted(args), lambda x: x.to("cuda"))
    enable(device, True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _dtypes(function(*args, **kwargs))
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:100]}"
    finally:
        enable(device, False)


def _dtypes(result: Any) -> list[str]:
    return [str(x.dtype) for x in tensors_in(result)]
