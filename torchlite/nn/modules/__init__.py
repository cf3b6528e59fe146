"""PyTorch's place of what concerns all modules at once: ``nn.modules.module``."""

from torchlite.nn.modules import module

__all__ = ["module"]
