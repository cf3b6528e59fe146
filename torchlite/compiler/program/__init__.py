"""A captured graph as one program in C.

`units` puts operations together, `layout` says in which order they run and where every value lies, `writer` writes the C,
and `execution` runs it. What has no C is run by NumPy between two parts of the program.
"""

from __future__ import annotations

from torchlite.backends.native import toolchain
from torchlite.backends.native.library import load_all, text, warn_once
from torchlite.compiler.graph import Graph
from torchlite.compiler.passes.moments import take_moments
from torchlite.compiler.program.execution import Execution, Stopped
from torchlite.compiler.program.interface import Interface
from torchlite.compiler.program.layout import Unplaceable, lay_out
from torchlite.compiler.program.writer import Writer


def program(graph: Graph, interface: Interface, *, apart: bool = False) -> Execution | None:
    """The program of an optimized graph; None where C can't be compiled, or has no strides for an input.

    Args:
        graph: the graph.
        interface: how it is called; inputs of which it is not known how they lie are made dense.
        apart: whether each step becomes a segment of its own, so that its time can be taken.
    """
    if not toolchain.enabled():
        return None
    try:
        graph = take_moments(graph)
        layout = lay_out(graph, interface)
        written = Writer(graph, layout, apart=apart).program()
        libraries = load_all([text(*part.headers) + "\n" + part.source for part in written.texts])
    except Unplaceable:
        return None
    except toolchain.Unavailable as error:
        warn_once(str(error))
        return None
    return Execution(graph, layout, written, libraries)


__all__ = ["Execution", "Interface", "Stopped", "program"]
