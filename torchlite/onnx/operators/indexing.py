"""Elements chosen by tensors of integers."""

from __future__ import annotations

from torchlite.compiler.graph import Node
from torchlite.onnx.writer import Rule, Writer


def _index(writer: Writer, node: Node) -> str:
    spec = node.params["spec"]
    x, *indices = node.inputs
    at = [axis for axis, entry in enumerate(spec) if entry == "tensor"]
    if any(v.aval is None or v.aval.dtype.kind not in "iu" for v in indices):
        raise writer.unsupported("by a mask")
    if len(at) == 1:
        return writer.add("Gather", writer.of(x), writer.of(indices[0]), axis=at[0])
    if at != list(range(len(at))):
        raise writer.unsupported("by several tensors behind a slice")
    # GatherND wants all tensors side by side: (*shape, how many).
    shape = writer.shape(node.outputs[0])[: max(len(v.shape) for v in indices)]
    beside = []
    for v in indices:
        assert v.aval is not None
        wide = writer.add("Expand", writer.cast(writer.of(v), v.aval.dtype, "int64"), writer.lengths(shape))
        beside.append(writer.add("Unsqueeze", wide, writer.integers([-1])))
    return writer.add("GatherND", writer.of(x), writer.add("Concat", *beside, axis=-1))


def _gather(writer: Writer, node: Node) -> str:
    return writer.add("GatherElements", *writer.given(node), axis=node.params["dim"])


RULES: dict[str, Rule] = {"gather": _gather, "index": _index}
