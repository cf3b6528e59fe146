"""NVIDIA's compiler of CUDA C++, which needs no GPU: with ``TORCHLITE_NVRTC=1`` texts of kernels are compiled by it too.

``pip install nvidia-cuda-nvrtc nvidia-cuda-runtime``, or a CUDA toolkit.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import importlib.util
import os
from pathlib import Path

_ARCHITECTURE = "compute_80"
_TOOLKITS = [Path("/usr/local/cuda"), Path("/opt/cuda")]


def roots() -> list[Path]:
    """Where wheels and toolkits put libraries and headers."""
    found = importlib.util.find_spec("nvidia")
    wheels = [p for place in (found.submodule_search_locations or ()) for p in Path(place).glob("*")] if found else []
    return [*wheels, *_TOOLKITS]


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiler; None where it is not wanted.

    Raises:
        RuntimeError: where it is wanted and not installed.
    """
    if os.environ.get("TORCHLITE_NVRTC") != "1":
        return None
    places = [p for root in roots() for lib in ("lib", "lib64") for p in sorted((root / lib).glob("libnvrtc.so*"))]
    for name in [*map(str, places), ctypes.util.find_library("nvrtc")]:
        if name is not None:
            try:
                return ctypes.CDLL(name)
            except OSError:
                continue
    raise RuntimeError("TORCHLITE_NVRTC=1 needs NVRTC: pip install nvidia-cuda-nvrtc nvidia-cuda-runtime")


def compile_text(code: str, options: tuple[str, ...]) -> bytes:
    """The text as PTX.

    Raises:
        RuntimeError: with the compiler's messages.
    """
    nvrtc = library()
    assert nvrtc is not None
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"kernels.cu", 0, None, None)
    includes = [f"--include-path={root / 'include'}" for root in roots() if (root / "include").is_dir()]
    given = [option.encode() for option in (*options, f"--gpu-architecture={_ARCHITECTURE}", *includes)]
    status = nvrtc.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*given))
    size = ctypes.c_size_t()
    if status:
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, log)
        raise RuntimeError(f"NVRTC: {log.value.decode()}\n{code}")
    nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetPTX(program, ptx)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return ptx.raw
