"""The arguments of `torchlite.compile`, checked as PyTorch checks them."""

from __future__ import annotations

from typing import Any

BACKENDS = ("inductor", "eager")
MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
OPTIONS = (
    "epilogue_fusion", "fallback_random", "guard_filter_fn", "max_autotune", "shape_padding", "trace.enabled",
    "trace.graph_diagram", "triton.cudagraphs",
)  # fmt: skip


def check(backend: Any, mode: str | None, options: dict[str, Any] | None, dynamic: bool | None) -> None:
    """Refuse what `torchlite.compile` can't be told.

    Raises:
        ValueError: for an unknown ``backend``.
        RuntimeError: for an unknown ``mode`` or option, and for both at once.
        TypeError: for a ``dynamic`` that is no truth value.
    """
    if backend not in BACKENDS:
        raise ValueError(
            f"compile: backend must be one of {_listed(BACKENDS)}, got {backend!r}; graphs are given to no other function"
        )
    if mode is not None and options is not None:
        raise RuntimeError(
            "Either mode or options can be specified, but both can't be specified at the same time; leave one out"
        )
    if mode is not None and mode not in MODES:
        raise RuntimeError(f"Unrecognized mode={mode}, should be one of: {_listed(MODES)}")
    for name in options or {}:
        if name.replace("-", "_") not in OPTIONS:
            raise RuntimeError(f"Unexpected optimization option {name}, known options are {_listed(OPTIONS)}")
    if dynamic not in (None, True, False):
        raise TypeError(f"compile: dynamic must be None, True or False, got {dynamic!r}")


def wants_cuda_graphs(mode: str | None, options: dict[str, Any] | None) -> bool:
    """Whether programs on a GPU are to be recorded."""
    return mode in ("reduce-overhead", "max-autotune") or bool((options or {}).get("triton.cudagraphs"))


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names))
