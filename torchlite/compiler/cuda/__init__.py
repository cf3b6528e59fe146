"""Fused operations on a GPU, as kernels in CUDA C++.

In the order in which they are at work: `decomposition` writes operators out as the steps they consist of, `regions`
finds what becomes one kernel, `arguments` names what it is called with (`layouts` how arrays are read through views,
`scalars` types and expressions), `pointwise` and `reductions` write its text, `launch` runs it.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence

import numpy as np

from torchlite.backends import cupy
from torchlite.compiler.cuda import pointwise, reductions, scalars
from torchlite.compiler.cuda.arguments import Arguments
from torchlite.compiler.cuda.decomposition import decomposed
from torchlite.compiler.cuda.launch import Kernel, Launch
from torchlite.compiler.cuda.regions import Region, regions
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes import without_duplicates
from torchlite.devices import Device
from torchlite.ir import Op

# Each operation is rounded as it is uncompiled: a product and a sum are not contracted.
OPTIONS = ("--fmad=false", "--std=c++17")
_PARTIAL_TYPES = {"int": np.int32, "float": np.float32, "double": np.float64, "long long": np.int64}


def fused(graph: Graph) -> tuple[Graph, str]:
    """The graph with fused operations on GPUs and their text; as it is, and no text, where there are none.

    A text that can't be compiled is told about in one warning, and the graph stays as it is.
    """
    if not any(node.device.type == "cuda" for node in graph.nodes):
        return graph, ""
    writer = _Writer()
    result = regions(without_duplicates(decomposed(graph, _on_gpu)), writer.operation)
    if not writer.texts:
        return graph, ""
    source = writer.source()
    try:
        module = cupy().RawModule(code=source, options=OPTIONS)
        for kernel in writer.made:
            kernel.bind(module)
    except Exception as error:  # of NVRTC, or because it is not there
        _warn_once(f"torchlite.compile: kernels for a GPU can't be compiled, so operations are not fused: {error}")
        return graph, ""
    return result, source


@functools.cache
def _warn_once(message: str) -> None:
    with warnings.catch_warnings():  # those of what is traced are switched off
        warnings.simplefilter("always")
        warnings.warn(message, RuntimeWarning, stacklevel=2)


def _on_gpu(node: Node) -> bool:
    return node.device.type == "cuda"


class _Writer:
    """Writes kernels; regions with the same text share one."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.made: list[Kernel] = []

    def source(self) -> str:
        """The whole text."""
        kernels = "\n".join(f'extern "C" __global__ void {name}{text}' for text, name in self.texts.items())
        return "\n".join([scalars.prelude(kernels), pointwise.PRELUDE, reductions.PRELUDE, kernels])

    def operation(self, region: Region, results: Sequence[Value]) -> Node:
        """The fused operation."""
        arguments = Arguments(region, results)
        device = region.nodes[0].device
        kernel = self._reduction(arguments, device) if region.dims else self._pointwise(arguments, device)
        self.made.append(kernel)
        op = Op(f"{kernel.launches[0].name}_{len(self.made)}", "elementwise", run=kernel, infer=lambda *_: None)
        node = Node(op, arguments.inputs, {}, several=True, line=region.nodes[0].line)
        node.outputs = tuple(results)
        return node

    def _pointwise(self, arguments: Arguments, device: Device) -> Kernel:
        body, grid, block = pointwise.pointwise(arguments)
        launch = Launch(self._named(arguments.declared(), body), grid, block)
        return Kernel(arguments, [launch], [], device)

    def _reduction(self, arguments: Arguments, device: Device) -> Kernel:
        writer = reductions.Reduction(arguments)
        division, types = writer.division, writer.partial_types()
        declared = arguments.declared() + [f"{kind} *__restrict__ q{i}" for i, kind in enumerate(types)]
        launches = [Launch(self._named(declared, writer.body()), division.grid, division.block)]
        if types:
            launches.append(Launch(self._named(declared, writer.second()), (division.kept,), (32,)))
        size = division.kept * division.shares
        return Kernel(arguments, launches, [(np.dtype(_PARTIAL_TYPES[kind]), size) for kind in types], device)

    def _named(self, declared: Sequence[str], body: str) -> str:
        return self.texts.setdefault(f"({', '.join(declared)}) {{\n{body}\n}}\n", f"fused_cuda{len(self.texts)}")
