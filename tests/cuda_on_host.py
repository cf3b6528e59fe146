"""Runs the text of CUDA kernels on the host, compiled by the C++ compiler: what `cupy.RawModule` is for a simulated GPU.

With ``TORCHLITE_NVRTC=1`` the text must pass NVIDIA's compiler first.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import graphs_on_host
import numpy as np
import nvrtc

COMPILER = shutil.which("g++")
_HEADER = Path(__file__).with_name("cuda_on_host.h")
_KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)')
_FOLDER = Path(tempfile.gettempdir()) / "torchlite_cuda_on_host"


class RawModule:
    """A text with kernels.

    Raises:
        RuntimeError: for a text that is wrong, and without a compiler.
    """

    def __init__(self, *, code: str, options: tuple[str, ...] = ()) -> None:
        assert all(option.startswith("--") for option in options)
        self.parameters = {name: _types(parameters) for name, parameters in _KERNEL.findall(code)}
        self.library = ctypes.CDLL(str(_compiled(code, options, self.parameters)))

    def get_function(self, name: str) -> Any:
        """A kernel, to be called with grid, block and arguments."""
        function, types = getattr(self.library, f"launch_{name}"), self.parameters[name]

        def launch(
            grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...], *, shared_mem: int = 0
        ) -> None:
            if len(arguments) != len(types):
                raise TypeError(f"{name}: {len(types)} arguments, got {len(arguments)}")
            if shared_mem > max(48 << 10, getattr(launch, "max_dynamic_shared_size_bytes", 0)):
                raise RuntimeError(f"{name}: {shared_mem} bytes of shared memory are more than it may have")
            values = [_value(argument, kind) for argument, kind in zip(arguments, types, strict=True)]
            pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
            run = functools.partial(
                _run, function, _three(grid), _three(block), pointers, ctypes.c_size_t(shared_mem), values, arguments
            )
            graphs_on_host.launched(run)

        return launch


def _run(function: Any, grid: Any, block: Any, pointers: Any, shared_mem: Any, *_kept: Any) -> None:
    function(grid, block, pointers, shared_mem)


def _value(argument: Any, kind: str) -> np.ndarray[Any, Any]:
    """What is passed: an address, or a number of just the kernel's type."""
    if kind.endswith("*"):
        return np.array(argument.data.ptr, np.uint64)
    if isinstance(argument, np.ndarray) and argument.size == 1:
        return argument.copy()  # a structure
    sizes = {"float": "f4", "double": "f8", "int": "i4", "long long": "i8", "bool": "?", "unsigned char": "u1"}
    if not isinstance(argument, np.generic) or argument.dtype != np.dtype(sizes.get(kind, argument.dtype)):
        raise TypeError(f"a number of type {kind} is expected, got {argument!r} of {type(argument).__name__}")
    return np.array(argument)


def _three(lengths: tuple[int, ...]) -> Any:
    return (ctypes.c_uint * 3)(*lengths, *[1] * (3 - len(lengths)))


def _types(parameters: str) -> list[str]:
    """The type of each parameter, without qualifiers and name."""
    found = []
    for parameter in parameters.split(","):
        text = re.sub(r"\b(const|__restrict__)\b", "", parameter).strip()
        found.append(re.sub(r"\s*\w+$", "", text).strip())
    return found


def _compiled(code: str, options: tuple[str, ...], parameters: dict[str, list[str]]) -> Path:
    if COMPILER is None:
        raise RuntimeError("no C++ compiler")
    written = re.sub(r"#include <cuda_\w+\.h>", "", code)
    written = re.sub(r"extern __shared__ (\w+) (\w+)\[\];", r"static \1 *const \2 = (\1 *)dynamic_shared;", written)
    lines = [written, "static void **arguments_at;"]
    for name, types in parameters.items():
        values = ", ".join(f"*({kind} *)arguments_at[{i}]" for i, kind in enumerate(types))
        lines.append(f"static void body_{name}() {{ {name}({values}); }}")
        lines.append(
            f'extern "C" void launch_{name}(const unsigned *grid, const unsigned *block, void **arguments, '
            f"size_t shared) {{ arguments_at = arguments; launch(body_{name}, grid, block, shared); }}"
        )
    checked = f"// compiled by NVRTC too: {nvrtc.library() is not None} {options}"
    text = "\n".join([_HEADER.read_text(), *lines, checked])
    _FOLDER.mkdir(exist_ok=True)
    target = _FOLDER / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.so"
    if not target.exists():
        if nvrtc.library() is not None:
            nvrtc.compile_text(code, options)
        with tempfile.TemporaryDirectory() as folder:
            source, made = Path(folder) / "kernels.cpp", Path(folder) / "kernels.so"
            source.write_text(text)
            command = [COMPILER, "-std=c++17", "-ffp-contract=off", "-w", "-shared", "-fPIC", source, "-o", made]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(done.stderr[:4000])
            shutil.copy(made, target.with_suffix(f".{hash(folder)}"))
            target.with_suffix(f".{hash(folder)}").replace(target)
    return target
