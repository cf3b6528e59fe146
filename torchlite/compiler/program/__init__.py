"""A captured graph as one program in C.

`units` puts operations together, `layout` says in which order they run and where every value lies, `writer` writes the C,
and `execution` runs it. What has no C is run by NumPy between two parts of the program.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torchlite.backends.native import toolchain
from torchlite.backends.native.library import load, text, warn_once
from torchlite.compiler.graph import Graph, Value
from torchlite.compiler.program.execution import Execution, Stopped
from torchlite.compiler.program.layout import Unplaceable, lay_out
from torchlite.compiler.program.writer import Writer


def program(
    graph: Graph,
    arrays: Mapping[Value, Any],
    floats: Iterable[Value] = (),
    writes: Mapping[int, Value] | None = None,
    leaving: int = 0,
    *,
    apart: bool = False,
) -> Execution | None:
    """The program of a graph; None where C can't be compiled, or has no strides for an input.

    Args:
        graph: optimized.
        arrays: for inputs that are arrays one that lies as they will, or None where they are to be made dense.
        floats: inputs that are Python floats.
        writes: for outputs that overwrite an input, that input.
        leaving: how many of the first outputs get memory of their own; others may be inputs, or views of them.
        apart: whether each step becomes a segment of its own, so that its time can be taken.
    """
    if not toolchain.enabled():
        return None
    try:
        layout = lay_out(graph, arrays, floats, writes or {}, leaving)
        written = Writer(graph, layout, apart=apart).program()
        library = load(text(*written.headers) + "\n" + written.source)
    except Unplaceable:
        return None
    except toolchain.Unavailable as error:
        warn_once(str(error))
        return None
    return Execution(graph, layout, written, library)


__all__ = ["Execution", "Stopped", "program"]
