"""``torch.backends.cuda``: what programs set about matrix products and attention on a GPU."""

from __future__ import annotations

import importlib.util
import sys

from torchlite.backends.matmul_precision import get_float32_matmul_precision, set_float32_matmul_precision


def is_built() -> bool:
    """Whether CuPy is installed; that there is a GPU, `torchlite.cuda.is_available` says."""
    return "cupy" in sys.modules or importlib.util.find_spec("cupy") is not None


class _MatrixProducts:
    """Settings of matrix products.

    Attributes:
        allow_fp16_reduced_precision_reduction, allow_bf16_reduced_precision_reduction: accepted; CuPy decides.
        allow_fp16_accumulation: accepted; sums are formed in float32.
    """

    allow_fp16_reduced_precision_reduction = True
    allow_bf16_reduced_precision_reduction = True
    allow_fp16_accumulation = False

    @property
    def allow_tf32(self) -> bool:
        """Whether float32 matrices may be multiplied in TF32: `set_float32_matmul_precision` in other words."""
        return get_float32_matmul_precision() != "highest"

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        set_float32_matmul_precision("high" if allowed else "highest")


matmul = _MatrixProducts()

_attention = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True}


def enable_flash_sdp(enabled: bool) -> None:
    """Accepted: attention has one way of computing here."""
    _attention["flash"] = enabled


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Accepted: attention has one way of computing here."""
    _attention["mem_efficient"] = enabled


def enable_math_sdp(enabled: bool) -> None:
    """Accepted: attention has one way of computing here."""
    _attention["math"] = enabled


def enable_cudnn_sdp(enabled: bool) -> None:
    """Accepted: attention has one way of computing here."""
    _attention["cudnn"] = enabled


def flash_sdp_enabled() -> bool:
    """What was last set."""
    return _attention["flash"]


def mem_efficient_sdp_enabled() -> bool:
    """What was last set."""
    return _attention["mem_efficient"]


def math_sdp_enabled() -> bool:
    """What was last set."""
    return _attention["math"]


def cudnn_sdp_enabled() -> bool:
    """What was last set."""
    return _attention["cudnn"]
