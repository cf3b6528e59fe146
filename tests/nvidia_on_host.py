"""Stand-ins for NVIDIA's libraries on a simulated GPU: ``nvidia_on_host.c``, compiled by the host's C compiler."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import graphs_on_host

COMPILER = shutil.which("gcc") or shutil.which("cc")
_SOURCE = Path(__file__).with_name("nvidia_on_host.c")
_FOLDER = Path(tempfile.gettempdir()) / "torchlite_nvidia_on_host"


@functools.cache
def built() -> Path | None:
    """The library; None without a C compiler, or one that knows half precision."""
    if COMPILER is None:
        return None
    target = _FOLDER / f"{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:32]}.so"
    if not target.exists():
        _FOLDER.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_FOLDER) as folder:
            made = Path(folder) / "library.so"
            command = [COMPILER, "-std=gnu11", "-O2", "-Wall", "-shared", "-fPIC", _SOURCE, "-o", made]
            if subprocess.run(command, capture_output=True, check=False).returncode:
                return None
            made.replace(target)
    return target


def library() -> Any:
    """What the stand-ins noted: ``fake_log``, ``fake_clear`` and what else begins so in the C text."""
    loaded = ctypes.CDLL(str(built()))
    loaded.fake_log.restype = ctypes.c_char_p
    loaded.fake_fail.argtypes = [ctypes.c_char_p, ctypes.c_int]
    return loaded


def calls() -> list[str]:
    """The calls noted since ``fake_clear``."""
    return library().fake_log().decode().splitlines()  # type: ignore[no-any-return]


def described(product: ctypes.c_void_p) -> Any:
    """What a description of a product says now: its bias may be another at the next call, which a graph does not see."""
    size = ctypes.c_size_t.in_dll(library(), "fake_product_size").value
    return ctypes.create_string_buffer(ctypes.string_at(product, size), size)


def install() -> None:
    """Let the package find the stand-ins, and nothing else, wherever it looks for NVIDIA's libraries."""
    from torchlite.backends.nvidia import library as libraries

    path = built()
    call = libraries.Library.call

    def called(self: Any, name: str, *arguments: Any) -> None:
        """Libraries are called at once; what computes waits for the launch of a graph where one is captured."""
        if name == "cublasLtMatmul" and graphs_on_host.capturing():
            arguments = (arguments[0], described(arguments[1]), *arguments[2:])
        if name.startswith("cudnnConvolution") or name == "cublasLtMatmul":
            graphs_on_host.launched(functools.partial(call, self, name, *arguments))
        else:
            call(self, name, *arguments)

    libraries.Library.call = called  # type: ignore[method-assign]
    libraries.candidates = lambda _file: [] if path is None else [str(path)]
