"""Fused operations on a GPU, as kernels in CUDA C++.

In the order in which they are at work: `decomposition` writes operators out as the steps they consist of, `regions`
finds what becomes one kernel, `arguments` names what it is called with (`layouts` how arrays are read through views,
`scalars` types and expressions), `pointwise` and `reductions` write its text, `launch` runs it,
`copies` leaves out copies of what a kernel has just written, `biases` gives products back what no kernel adds to them, and
`together` runs many kernels at once, over `tables`.
`texts` is a module of them. `parts` separates what the host computes, whose numbers are put into `slots`; `execution` runs the
parts one after the other, and `recording` has each be a single launch, for which copies are `deferred`.
In uncompiled code `rules` makes one kernel of what a rule does to all parameters, and `whole` some of an operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torchlite.compiler.cuda.arguments import Arguments
from torchlite.compiler.cuda.biases import with_biases
from torchlite.compiler.cuda.copies import in_rows, without_copies
from torchlite.compiler.cuda.decomposition import decomposed
from torchlite.compiler.cuda.execution import Execution
from torchlite.compiler.cuda.launch import Kernel
from torchlite.compiler.cuda.parts import parts
from torchlite.compiler.cuda.recording import Recorded
from torchlite.compiler.cuda.regions import Region, regions
from torchlite.compiler.cuda.tables import TableKernel
from torchlite.compiler.cuda.texts import Texts, warn_once
from torchlite.compiler.cuda.together import together, writes_inputs
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes import without_dead_code, without_duplicates
from torchlite.compiler.program.interface import Interface
from torchlite.ir import Op


def fused(graph: Graph, writes: Mapping[int, Value]) -> tuple[Graph, str]:
    """The graph with fused operations on GPUs and their text; as it is, and no text, where there are none.

    A text that can't be compiled is told about in one warning, and the graph stays as it is.

    Args:
        graph: optimized.
        writes: for outputs that overwrite an input, that input. What is written there by a kernel becomes None.
    """
    if not any(node.device.type == "cuda" for node in graph.nodes):
        return graph, ""
    written = {graph.outputs[i] for i in writes}
    result = regions(without_dead_code(without_duplicates(decomposed(graph, _on_gpu))), _operation, written)
    result = together(with_biases(without_copies(result)), writes)
    kernels = [node.op.run for node in result.nodes if isinstance(node.op.run, (Kernel, TableKernel))]
    if not kernels:
        return graph, ""
    known = in_rows(result)
    for node in result.nodes:
        if isinstance(node.op.run, (Kernel, TableKernel)):
            node.op.run.doubtful = [i for i, v in enumerate(node.inputs) if v not in known]
    texts = Texts()
    for kernel in kernels:
        kernel.write(texts.named)
    try:
        module = texts.module()
        for kernel in kernels:
            kernel.bind(module)
    except Exception as error:  # of NVRTC, or because it is not there
        warn_once(f"torchlite.compile: kernels for a GPU can't be compiled, so operations are not fused: {error}")
        return graph, ""
    return result, texts.source


def in_parts(graph: Graph, interface: Interface, source: str) -> Execution | None:
    """How a graph with fused operations is replayed part by part; None where it has no such parts."""
    found = parts(graph, writes_inputs)
    if found is None:
        return None
    recorded = interface.cuda_graphs and not interface.saved
    return (Recorded if recorded else Execution)(graph, found, interface, source)


def _operation(region: Region, results: Sequence[Value], count: int) -> Node:
    """A region as one operation."""
    arguments, first = Arguments(region, results), region.nodes[0]
    op = Op(f"fused_region{count}", "elementwise", run=Kernel(arguments, first.device), infer=lambda *_: None)
    node = Node(op, arguments.inputs, {}, several=True, line=first.line)
    node.outputs = tuple(results)
    return node


def _on_gpu(node: Node) -> bool:
    return node.device.type == "cuda"
