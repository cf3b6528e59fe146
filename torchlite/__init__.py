"""torchlite: PyTorch's API on NumPy and CuPy, in Python one person can read.

>>> import torchlite as torch
>>> x = torch.tensor(2.0, requires_grad=True)
>>> y = x**2 + 3*x
>>> y.backward()
>>> x.grad
tensor(7.)

The names below are loaded on first use (PEP 562), so that ``import torchlite`` and the command line's
``--help`` do not pay for NumPy. What is public is written down in `torchlite.namespace`.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from torchlite.namespace import *

_loaded = False


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module 'torchlite' has no attribute {name!r}")
    if importlib.util.find_spec(f"torchlite.{name}") is not None:
        return importlib.import_module(f"torchlite.{name}")
    if not _loaded:
        _load_namespace()
    try:
        return globals()[name]
    except KeyError:
        raise AttributeError(f"module 'torchlite' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    _load_namespace()
    return sorted(globals())


def _load_namespace() -> None:
    namespace = importlib.import_module("torchlite.namespace")
    globals().update({name: getattr(namespace, name) for name in namespace.__all__}, _loaded=True)
