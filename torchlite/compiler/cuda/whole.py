"""Uncompiled operators of several steps on a GPU, by kernels for the whole of them.

The kernels are those of their steps in a compiled function. Lengths, strides and constants are arguments of a launch, so a text is
compiled once for all shapes that are divided alike.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from torchlite.backends import gpu
from torchlite.compiler.cuda.arguments import Arguments
from torchlite.compiler.cuda.decomposition import RULES, decomposed
from torchlite.compiler.cuda.launch import Kernel
from torchlite.compiler.cuda.parts import root
from torchlite.compiler.cuda.regions import Region, regions
from torchlite.compiler.cuda.scalars import number
from torchlite.compiler.cuda.texts import Texts, kept_module
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes import without_dead_code, without_duplicates
from torchlite.devices import Device
from torchlite.ir import Aval, Op

FEWEST = 1 << 9  # elements from which it is worth to compile a kernel
_MOST = 1 << 10  # operators on certain shapes that are kept
_LARGEST = 1 << 31
_NOT_HERE = {
    "linear",
    "convolution",
    "view",
    "gather",
    "scatter_add",
    "sum",
}  # of which one launch does all, or others do more
Function = Callable[..., Any]

_functions: dict[Hashable, Function | None] = {}


def whole(op: Op, arrays: Sequence[Any], params: dict[str, Any], device: Device) -> Any:
    """The result of an operator on arrays of a GPU; None where there are no kernels for it."""
    if op.name not in RULES or op.name in _NOT_HERE:
        return None
    key = (op.name, device.index, tuple([(x.shape, x.dtype) for x in arrays]), tuple(params.items()))
    try:
        function = _functions[key]
    except KeyError:
        if len(_functions) >= _MOST:
            _functions.clear()
        function = _functions[key] = _made(op, arrays, params, device)
    if function is None or any(not x.flags.c_contiguous for x in arrays):
        return None  # results lie as what they are computed from
    return function(*arrays)


def _made(op: Op, arrays: Sequence[Any], params: dict[str, Any], device: Device) -> Function | None:
    if not FEWEST <= max(x.size for x in arrays) < _LARGEST:
        return None
    graph = _graph(op, [Aval(x.shape, x.dtype, device) for x in arrays], params)
    several = graph.nodes[0].several
    graph = regions(without_dead_code(without_duplicates(decomposed(graph, lambda _: True))), _operation)
    kernels = [node for node in graph.nodes if isinstance(node.op.run, Kernel)]
    roots = [root(v) for v in graph.outputs]
    computed = {v for node in graph.nodes for v in node.outputs}
    if not kernels or len({*roots} & computed) < len(roots):
        return None
    texts, given = Texts(), {*graph.inputs}
    for node in kernels:
        kernel: Any = node.op.run
        kernel.write(texts.named)
        kernel.doubtful = [i for i, v in enumerate(node.inputs) if root(v) in given]
    with gpu(device.index):
        module = kept_module(texts, device)
        if module is None:
            return None
        for node in kernels:
            kernel = node.op.run
            kernel.bind(module)
    function = graph.function()
    return function if several else lambda *arrays: function(*arrays)[0]


def _graph(op: Op, avals: Sequence[Aval], params: dict[str, Any]) -> Graph:
    """The operator alone."""
    inputs = tuple(Value(aval) for aval in avals)
    inferred = op.infer(*avals, **params)
    several = type(inferred) is tuple
    node = Node(op, inputs, params, several=several)
    node.outputs = tuple(Value(aval, node) for aval in (inferred if several else (inferred,)))
    return Graph("whole", inputs, (node,), node.outputs)


def _operation(region: Region, results: Sequence[Value], count: int) -> Node:
    """A region as one operation, with numbers as arguments."""
    numbers = [v for v in region.reads if number(v) is not None]
    arguments, first = Arguments(region, results, numbers, []), region.nodes[0]
    op = Op(f"fused_region{count}", "elementwise", run=Kernel(arguments, first.device), infer=lambda *_: None)
    node = Node(op, arguments.inputs, {}, several=True)
    node.outputs = tuple(results)
    return node
