"""Pieces of code that are run with both libraries; everything that a program can see of them must agree."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from oracle import BOTH

Scenario = Callable[..., Any]


class Scenarios(dict[str, Scenario]):
    """Functions of a library by name; a decorator that adds one."""

    def __call__(self, function: Scenario) -> Scenario:
        self[function.__name__] = function
        return function

    def refused(self, name: str, function: Scenario) -> None:
        """Add one that raises with PyTorch."""
        self[f"refused: {name}"] = function


def plain(value: Any) -> Any:
    """A value of either library as plain Python."""
    if hasattr(value, "tolist"):
        return [plain(value.tolist()), str(value.dtype).rpartition(".")[2], value.requires_grad, type(value).__name__]
    if isinstance(value, dict):
        return [[k, plain(v)] for k, v in value.items()]
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    return value


def outcome(scenario: Callable[[Any], Any], library: Any) -> tuple[Any, Any, Any]:
    """The result, the error and the warnings; texts of errors only where programs read them."""
    result: Any = None
    error: Exception | None = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", ".* encountered in ", RuntimeWarning)  # NumPy's
        try:
            result = plain(scenario(library))
        except Exception as raised:
            error = raised
    text = str(error).replace("torchlite", "torch") if "Error(s) in loading" in str(error) else ""
    return result, (type(error), text), [(w.category, str(w.message)[:40]) for w in caught]


def close(ours: Any, theirs: Any) -> bool:
    """Equal to rounding in float32."""
    if isinstance(theirs, (list, tuple)):
        return isinstance(ours, (list, tuple)) and len(ours) == len(theirs) and all(map(close, ours, theirs))
    if isinstance(theirs, float):
        return isinstance(ours, float) and ours == pytest.approx(theirs, rel=1e-5, abs=1e-6, nan_ok=True)
    return str(ours) == str(theirs)


def assert_the_same(scenario: Callable[[Any], Any]) -> None:
    ours, theirs = (outcome(scenario, T) for T in BOTH)
    assert close(ours, theirs), f"{ours}\n!=\n{theirs}"
