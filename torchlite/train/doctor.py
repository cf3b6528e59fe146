"""What is there on this machine, and what would have to be installed for the rest."""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
from typing import Any

import numpy as np

from torchlite import __version__, backends
from torchlite.backends import cudnn
from torchlite.backends.native import toolchain
from torchlite.train.provenance import blas, processor, usable_cpus

_EXTRAS = {
    "images": "PIL", "onnx": "onnx", "optuna": "optuna", "mlflow": "mlflow", "wandb": "wandb", "trackio": "trackio",
    "serve": "uvicorn",
}  # fmt: skip
"""Extras with the module that each installs."""


def examine() -> dict[str, Any]:
    """Versions, processor, BLAS, GPU, compiler and optional packages, ready to be written as JSON."""
    extras = {
        "cuda": ("cupy", 'pip install "torchlite[cuda13]"'),
        "native": ("ziglang", 'pip install "torchlite[native]" (a C compiler, where there is no other)'),
        **{name: (module, f'pip install "torchlite[{name}]"') for name, module in _EXTRAS.items()},
        "test": ("pytest", 'pip install "torchlite[test]"'),
        "parity": ("torch", 'pip install "torchlite[parity]"'),
    }
    found = {
        name: "installed" if importlib.util.find_spec(module) else advice for name, (module, advice) in extras.items()
    }
    return {
        "torchlite": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cpu": processor(),
        "cpus": usable_cpus(),
        "blas": blas(),
        "threads": {k: v for k, v in os.environ.items() if k.endswith("_NUM_THREADS")},
        "kernels": _kernels(),
        "gpu": _gpu(),
        "libraries": {"cuDNN": _cudnn(), "cuBLASLt": _cublaslt()},
        "extras": found,
    }


def _kernels() -> str:
    """The compiler and the folder of compiled kernels, or why there are none."""
    if not toolchain.enabled():
        return "switched off by TORCHLITE_NATIVE=0"
    try:
        return f"compiled by {shlex.join(toolchain.compiler().command)} into {toolchain.folder()}"
    except toolchain.Unavailable as error:
        return f"none: {error}"


def _gpu() -> str:
    if importlib.util.find_spec("cupy") is None:
        return 'none: CuPy is not installed; pip install "torchlite[cuda13]" (or [cuda12])'
    count = backends.cuda_device_count()
    return f"{count} CUDA device(s)" if count else "none: CuPy finds no CUDA device; check nvidia-smi"


def _cublaslt() -> str:
    """cuBLASLt's version, or what is done without it."""
    if importlib.util.find_spec("cupy") is None:
        return "none: it is used with CuPy"
    from torchlite.backends.nvidia import cublaslt

    version = cublaslt.version()
    if version is None:
        return (
            "none: biases are added after products, products of batches of bfloat16 are float32's, "
            "and no step with products of floats is a CUDA graph"
        )
    return str(version)


def _cudnn() -> str:
    """cuDNN's version, or what is done without it."""
    version = cudnn.version()
    if version is None:
        return (
            "none: convolutions on a GPU run as matrix products, and no step with them is a CUDA graph; "
            "pip install nvidia-cudnn-cu13 (or -cu12)"
        )
    return ".".join(map(str, (version // 10000, version // 100 % 100, version % 100)))
