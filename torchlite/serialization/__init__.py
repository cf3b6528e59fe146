"""Files that cannot hurt: ``.pt``, ``.safetensors`` and ``.npz`` read without pickle and written durably."""

from torchlite.serialization.npz import read_npz, write_npz
from torchlite.serialization.pt import read_pt, write_pt
from torchlite.serialization.safetensors import read_safetensors, write_safetensors
from torchlite.serialization.tensors import load, save

__all__ = [
    "load",
    "read_npz",
    "read_pt",
    "read_safetensors",
    "save",
    "write_npz",
    "write_pt",
    "write_safetensors",
]
