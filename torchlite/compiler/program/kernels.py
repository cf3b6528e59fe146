"""What lowerings to functions of ``backends/native`` have in common: structs in C whose fields are addresses and sizes."""

from __future__ import annotations

import abc
from collections.abc import Mapping

import numpy as np

from torchlite.compiler.graph import Node, Value
from torchlite.compiler.program.lowering import Plain
from torchlite.compiler.program.writer import Writer


def of_float32(node: Node) -> bool:
    """Whether all arrays of an operation are of float32, but for those of integers, which are of int64."""
    dtypes = [v.aval.dtype for v in (*node.inputs, *node.outputs) if v.aval is not None]
    return all(d == np.float32 or d == np.int64 for d in dtypes)


def struct(writer: Writer, name: str, fields: Mapping[str, Value | str | float | None]) -> str:
    """A struct as C: the addresses of values, C expressions and numbers; None is left out, which makes it NULL or 0."""

    def text(x: Value | str | float) -> str:
        if isinstance(x, Value):
            return f"(void *)({writer.pointer(x)})"
        return f"{x.hex()}f" if isinstance(x, float) else x  # hexadecimal digits are exact

    return f"{name}{{{', '.join(f'.{field} = {text(x)}' for field, x in fields.items() if x is not None)}}}"


class Kernel(Plain):
    """A kernel on float32 arrays that lie in the order of their dimensions."""

    def write(self, node: Node, writer: Writer) -> None:
        """Write the statement."""
        writer.statement(self.statement(node, writer))

    @abc.abstractmethod
    def statement(self, node: Node, writer: Writer) -> str:
        """The statement in C."""
