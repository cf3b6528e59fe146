"""torchlite: PyTorch's API on NumPy and CuPy, in Python one person can read.

>>> import torchlite as torch
>>> x = torch.tensor(2.0, requires_grad=True)
>>> y = x**2 + 3*x
>>> y.backward()
>>> x.grad
tensor(7.)

The names below are loaded on first use (PEP 562), so that ``import torchlite`` and the command line's
``--help`` do not pay for NumPy. What is public is written down in `torchlite.namespace` and
`torchlite.namespace_late`.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from torchlite.namespace import *
    from torchlite.namespace_late import *

# Modules of public names, in the order in which they are looked through, until all are loaded.
_waiting = ["torchlite.namespace", "torchlite.namespace_late"]


def __getattr__(name: str) -> Any:
    if not name.startswith("__"):
        if importlib.util.find_spec(f"torchlite.{name}") is not None:
            return importlib.import_module(f"torchlite.{name}")
        while _waiting:
            _load_names()
            if name in globals():
                return globals()[name]
    raise AttributeError(f"module 'torchlite' has no attribute {name!r}")


def __dir__() -> list[str]:
    while _waiting:
        _load_names()
    return sorted(globals())


def _load_names() -> None:
    module = importlib.import_module(_waiting[0])
    taking: Any = importlib.import_module("torchlite.names_of_numpy").taking_names_of_numpy
    for name in module.__all__:
        defined = getattr(module, name)
        public = globals()[name] = taking(defined)
        if public is not defined:
            public.__module__, public.__qualname__ = __name__, name  # where pickle finds it
    del _waiting[:1]
