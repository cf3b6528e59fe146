"""The settings of this package that a function can ask for, or that decide what its operators do.

Those of a thread are compared at every call (`modes_now`); the others lie in modules, where they are watched as what is
around a function is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from torchlite import dtypes
from torchlite.autocasting import autocast_mode
from torchlite.autograd.grad_mode import grad_mode
from torchlite.backends import matmul_precision
from torchlite.compiler.holders import Attributes
from torchlite.compiler.noted import Place
from torchlite.devices import get_default_device

_IN_MODULES = {
    "torchlite.backends.determinism": ("_mode",),
    "torchlite.backends.matmul_precision": ("_precision",),
    "torchlite.backends.cudnn": ("enabled", "benchmark", "benchmark_limit", "deterministic", "allow_tf32"),
    "torchlite.backends.mkldnn": ("enabled", "deterministic", "allow_tf32"),
}


def modes_now() -> tuple[Any, ...]:
    """The modes of this thread."""
    casting = (autocast_mode.enabled, autocast_mode.cache_enabled, *autocast_mode.lower.values())
    return (grad_mode.enabled, grad_mode.inference, dtypes.get_default_dtype(), get_default_device(), casting)


def settings() -> Iterator[Place]:
    """Where the settings of the whole process are; of what has not been imported there are none."""
    for name, keys in _IN_MODULES.items():
        module = sys.modules.get(name)
        if module is not None:
            values = tuple(vars(module)[key] for key in keys)
            yield Place(name.replace("torchlite", "torch"), module, vars(module), keys, values, whole=False)
    cpu = matmul_precision._cpu_precision
    yield Place("fp32_precision", matmul_precision, cpu, tuple(cpu), tuple(cpu.values()))
    cuda = sys.modules.get("torchlite.backends.cuda")
    if cuda is not None:
        for held in (cuda._attention, vars(cuda.matmul)):
            yield Place("torch.backends.cuda", cuda, held, tuple(held), tuple(held.values()))
    distributions = sys.modules.get("torchlite.distributions.distribution")
    if distributions is not None:
        base, name = distributions.Distribution, "_validate_args"
        yield Place("torch.distributions", base, Attributes(base), (name,), (getattr(base, name),), whole=False)
