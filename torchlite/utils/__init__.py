"""What PyTorch keeps under `torch.utils`; its modules are loaded when first used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchlite.utils import checkpoint, data, dlpack

__all__ = ["checkpoint", "data", "dlpack"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"torchlite.utils.{name}")
    raise AttributeError(f"module 'torchlite.utils' has no attribute {name!r}")
