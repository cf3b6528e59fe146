"""gradcheck and gradgradcheck of every differentiable public operator, on float64 samples of PyTorch's database.

Of the first samples of an entry with few elements the two largest are taken. PyTorch compares the gradients of its
derivative formulas so in its own tests; here finite differences are the oracle for both orders.
"""

import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest
from parity.op_db import (
    OPERATORS,
    _translated,
    converted,
    determined,
    mapped,
    not_public,
    operator_of,
    tensors_in,
    torch,
)

import torchlite
from torchlite.autograd import gradcheck, gradgradcheck

CHECKED = 480  # as many operators are checked at least; raise it when more are
LARGEST, EXAMINED, TAKEN = 150, 24, 2

ROUNDED = "the result has too few digits for finite differences"
SKIPPED = {
    "bfloat16": ROUNDED,
    "cfloat": ROUNDED,
    "chalf": ROUNDED,
    "float": ROUNDED,
    "half": ROUNDED,
    "__rpow__": "negative numbers to real powers: NaN",
    "cov": "PyTorch's gradient with respect to the weights treats the normalisation as constant",
    "linalg.norm.subgradients_at_zero": "at a kink by design",
    "linalg.lstsq": "samples of rank less than full, where the solution jumps",
    "linalg.lstsq.grad_oriented": "samples of rank less than full, where the solution jumps",
    "linalg.pinv.singular": "samples of rank less than full, where the singular vectors are not differentiable",
    "nn.functional.max_unpool1d": "samples in which several elements go to one place, and any may win",
    "nn.functional.max_unpool2d": "samples in which several elements go to one place, and any may win",
    "nn.functional.max_unpool3d": "samples in which several elements go to one place, and any may win",
}
FIRST_ORDER_ONLY = {
    "nn.functional.ctc_loss": "PyTorch has no second derivative of it; NaN here, where an alignment is impossible",
}


def differentiable() -> list[str]:
    """The entries that have a gradient in float64 and that torchlite has."""
    return sorted(
        name
        for name, info in OPERATORS.items()
        if not_public(name) is None
        and info.supports_autograd
        and torch.float64 in info.supported_dtypes("cpu")
        and determined(info)
        and operator_of(info) is not None
    )


def small_samples(info: Any) -> Iterator[Any]:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples = list(islice(info.sample_inputs("cpu", torch.float64, requires_grad=True), EXAMINED))
    sized = sorted((sum(x.numel() for x in leaves_of(s)), i) for i, s in enumerate(samples))
    small = [i for size, i in sized if 0 < size <= LARGEST]
    yield from (samples[i] for i in (*reversed(small), *(i for size, i in sized if size > LARGEST)))


def leaves_of(sample: Any) -> list[Any]:
    return [x for x in tensors_in([sample.input, sample.args, sample.kwargs]) if x.requires_grad]


def of_leaves(info: Any, sample: Any) -> tuple[Callable[..., Any], list[Any]]:
    """The operator's differentiable results as a function of the inputs that require gradients, and those inputs."""
    given = mapped(
        ((sample.input, *sample.args), dict(sample.kwargs)),
        lambda x: x.detach().clone().requires_grad_(x.requires_grad),
    )
    own = converted(given)
    operator, process = operator_of(info), _translated(sample.output_process_fn_grad)
    wrapper = _translated(info.gradcheck_wrapper)

    def function(*values: Any) -> tuple[Any, ...]:
        left = iter(values)
        torchlite.manual_seed(0)  # for those with dropout
        args, kwargs = replaced(own, left)
        results = process(wrapper(operator, *args, **kwargs))
        return tuple(y for y in tensors_in(results) if y.requires_grad)

    return function, [x for x in tensors_in(own) if x.requires_grad]


def replaced(tree: Any, left: Iterator[Any]) -> Any:
    if isinstance(tree, torchlite.Tensor):
        return next(left) if tree.requires_grad else tree
    if isinstance(tree, dict):
        return {key: replaced(value, left) for key, value in tree.items()}
    return type(tree)(replaced(value, left) for value in tree) if type(tree) in (list, tuple) else tree


def gives_gradients(function: Callable[..., Any], leaves: list[Any]) -> bool:
    try:
        return bool(function(*leaves))
    except Exception:  # what does not run is counted in test_op_db
        return False


def check(name: str) -> int:
    """Check the samples of one operator, and say how many."""
    info, checked = OPERATORS[name], 0
    for sample in small_samples(info):
        function, leaves = of_leaves(info, sample)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if checked == TAKEN or not gives_gradients(function, leaves):
                continue
            assert gradcheck(function, leaves, fast_mode=True)
            if info.supports_gradgrad and name not in FIRST_ORDER_ONLY:
                assert gradgradcheck(function, leaves, fast_mode=True, atol=1e-4)
        checked += 1
    return checked


NAMES = differentiable()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SKIPPED])
def test_gradients_of_both_orders(name: str) -> None:
    if not check(name):
        pytest.skip("no differentiable sample of few elements")


def test_as_many_operators_as_ever_are_checked() -> None:
    assert len([name for name in NAMES if name not in SKIPPED]) >= CHECKED


def test_only_what_exists_is_skipped() -> None:
    assert (SKIPPED.keys() | FIRST_ORDER_ONLY.keys()) <= OPERATORS.keys()
