"""Compiling a standalone program and running it, as who gets it would."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from torchlite.backends.native import toolchain
from torchlite.compiler.standalone.text import FLAGS, Standalone

_SECONDS = 600


@dataclass(frozen=True)
class Compiled:
    """A program that maps inputs to results.

    Attributes:
        made: what it was compiled from.
        command: how it is started.
    """

    made: Standalone
    command: tuple[str, ...]

    def __call__(self, arrays: Sequence[Any]) -> list[Any]:
        """The results.

        Raises:
            RuntimeError: where the program refuses the inputs.
        """
        given = b"".join(
            np.ascontiguousarray(a, dtype).tobytes() for a, (_, dtype) in zip(arrays, self.made.inputs, strict=True)
        )
        done = subprocess.run(self.command, input=given, capture_output=True, timeout=_SECONDS, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.decode(errors="replace").strip() or f"it ended with {done.returncode}")
        found, start = [], 0
        for shape, dtype in self.made.outputs:
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            found.append(np.frombuffer(done.stdout[start : start + size], dtype).reshape(shape))
            start += size
        return found


def compile_standalone(made: Standalone, source: Path, weights: Path | None, folder: Path) -> Compiled:
    """The program of a source file, compiled into ``folder`` by the C compiler of this machine.

    Raises:
        Unavailable: where there is no compiler, or it fails; the message has its first errors.
    """
    program = folder / made.name
    using = toolchain.compiler()
    command = [
        *using.command,
        *FLAGS,
        "-march=native",
        f"-D{made.name.upper()}_MAIN",
        "-o",
        str(program),
        str(source),
        "-lm",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        errors = "\n".join(done.stderr.strip().splitlines()[:8])
        raise toolchain.Unavailable(f"{' '.join(command)} failed:\n{errors}")
    return Compiled(made, (str(program), *([str(weights)] if weights is not None else [])))
