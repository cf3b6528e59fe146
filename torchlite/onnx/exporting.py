"""`torchlite.onnx.export`: a model's computation as ONNX."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from torchlite import __version__
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.backends import to_numpy
from torchlite.compiler.inference import Inference, captured_inference
from torchlite.extras import extra
from torchlite.onnx.errors import OnnxExporterError
from torchlite.onnx.lengths import Differs, Varying, compare
from torchlite.onnx.operators import RULES
from torchlite.onnx.program import ONNXProgram
from torchlite.onnx.writer import Writer
from torchlite.ops.exchange import from_numpy
from torchlite.tracing import Uncapturable

OPSET = 18
Axes = Mapping[str, Mapping[int, str] | Sequence[int]]


def export(
    model: Any,
    args: tuple[Any, ...] | Tensor = (),
    f: Any = None,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset_version: int | None = None,
    dynamic_axes: Axes | None = None,
    verify: bool = False,
) -> ONNXProgram:
    """``model(*args)`` as ONNX; all tensors that are no arguments become weights in it.

    The model is captured as it computes now, so call ``model.eval()`` before. A length that varies is found by capturing the
    model with two such lengths: what depends on it in proportion is computed in the file, and anything else is an error.

    Args:
        model: a module, or a function of tensors.
        args: example arguments; tensors become inputs, and other values stay what they are.
        f: a path or an open file that it is written to; nothing is written where unset.
        input_names: of the tensors among the arguments; the names of the parameters of ``forward`` where unset.
        output_names: of the results; ``output``, or ``output_0`` and so on.
        opset_version: of ONNX's operators; 18 where unset, the least that can be.
        dynamic_axes: ``{input: {axis: name}}`` or ``{input: [axis]}``: the dimensions whose one common length may vary,
            as the number of samples does. Outputs may be named, too; how their lengths follow is known without.
        verify: whether what was made is run and compared with the model.

    Raises:
        DeviceError: where the package ``onnx`` is not installed.
        OnnxExporterError: for what can't be captured, an operator that has no form in ONNX (naming it and the line that asked
            for it), or other numbers.
    """
    args = (args,) if isinstance(args, Tensor) else tuple(args)
    onnx = extra("onnx", "exporting to ONNX")
    opset = OPSET if opset_version is None else opset_version
    newest = onnx.defs.onnx_opset_version()
    if not OPSET <= opset <= newest:
        raise OnnxExporterError(f"opset_version is {opset}, expected {OPSET} to {newest}")
    tensors = [x for x in args if isinstance(x, Tensor)]
    names = list(input_names) if input_names is not None else _parameter_names(model, args)
    if len(names) != len(tensors):
        raise OnnxExporterError(f"there are {len(tensors)} tensors among the arguments, and {len(names)} input_names")
    axes = _axes(dynamic_axes or {}, names)
    inference, varying = _captured(model, args, names, axes)
    results = _output_names(output_names, inference)
    where = next(((names.index(name), of[0]) for name, of in axes.items()), None)
    writer = Writer(inference.graph, varying, inputs=names, outputs=results, length_of=where, opset=opset, rules=RULES)
    proto = onnx.helper.make_model(
        writer.model_graph(),
        producer_name="torchlite",
        producer_version=__version__,
        opset_imports=[onnx.helper.make_opsetid("", opset)],
    )
    proto.ir_version = onnx.helper.find_min_ir_version_for(list(proto.opset_import))
    onnx.checker.check_model(proto, full_check=True)
    program = ONNXProgram(proto)
    if verify:
        difference(program, model, args)
    if f is not None:
        program.save(f)
    return program


def difference(program: ONNXProgram, model: Any, args: Sequence[Any], tolerance: float = 1e-4) -> float:
    """The greatest difference between what the file and the model compute of some arguments, by the size of the results.

    Raises:
        OnnxExporterError: where it exceeds the tolerance, or a result has another shape or dtype.
    """
    with no_grad():
        expected = [to_numpy(x.detach()._data) for x in _flat(model(*args))]
    got = program.run([to_numpy(x.detach()._data) for x in args if isinstance(x, Tensor)])
    greatest = 0.0
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        if a.shape != b.shape or a.dtype != b.dtype:
            raise OnnxExporterError(
                f"result {i} is {a.dtype}{list(a.shape)} in ONNX, and {b.dtype}{list(b.shape)} of the model"
            )
        scale = max(1.0, float(np.abs(b).max(initial=0))) if b.dtype.kind == "f" else 1.0
        with np.errstate(invalid="ignore"):
            apart = np.abs(a.astype(np.float64) - b.astype(np.float64)) / scale
        apart = np.where((a == b) | ((a != a) & (b != b)), 0, apart)
        greatest = max(greatest, float(apart.max(initial=0)))
    if not greatest <= tolerance:
        raise OnnxExporterError(f"the results in ONNX differ by {greatest:.2g} from those of the model")
    return greatest


def _flat(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    parts = result.values() if isinstance(result, dict) else result or ()
    return [x for part in parts for x in _flat(part)]


def _parameter_names(model: Any, args: Sequence[Any]) -> list[str]:
    """The names of the parameters that tensors are given to."""
    try:
        known = list(inspect.signature(getattr(model, "forward", model)).parameters.values())
    except (TypeError, ValueError):
        known = []
    named = [p.name for p in known if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named += [f"input_{i}" for i in range(len(named), len(args))]
    return [name for name, x in zip(named, args, strict=False) if isinstance(x, Tensor)]


def _output_names(given: Sequence[str] | None, inference: Inference) -> list[str]:
    count = len(inference.graph.outputs)
    if given is None:
        return ["output"] if inference.single else [f"output_{i}" for i in range(count)]
    if len(given) != count:
        raise OnnxExporterError(f"there are {count} results, and {len(given)} output_names")
    return list(given)


def _axes(dynamic: Axes, inputs: Sequence[str]) -> dict[str, list[int]]:
    """The dimensions of inputs that vary, all of them together."""
    found: dict[str, list[int]] = {}
    labels = set()
    for name, of in dynamic.items():
        if name in inputs and of:
            found[name] = list(of)
            labels |= set(of.values()) if isinstance(of, Mapping) else {"batch"}
    if len(labels) > 1:
        raise OnnxExporterError(f"one length can vary, and dynamic_axes name {', '.join(sorted(labels))}")
    return found


def _captured(
    model: Any, args: Sequence[Any], names: Sequence[str], axes: Mapping[str, Sequence[int]]
) -> tuple[Inference, Varying]:
    try:
        if not axes:
            return captured_inference(model, args), Varying()
        one, other = (captured_inference(model, _with_length(args, names, axes, n)) for n in _LENGTHS)
        return one, compare(one.graph, other.graph, _LENGTHS)
    except Uncapturable as error:
        raise OnnxExporterError(f"the model can't be captured: {error}") from None
    except Differs as error:
        raise OnnxExporterError(f"what the model computes depends on the length that varies: {error}") from None


_LENGTHS = (
    3,
    5,
)  # no length of 1, which is broadcast; both odd, so that neither halves evenly where the other does not


def _with_length(
    args: Sequence[Any], names: Sequence[str], axes: Mapping[str, Sequence[int]], length: int
) -> list[Any]:
    """The arguments with another length: what they hold, repeated."""
    remaining = iter(names)
    found = []
    for x in args:
        if isinstance(x, Tensor):
            array = to_numpy(x.detach()._data)
            for axis in axes.get(next(remaining), ()):
                array = np.take(array, np.arange(length) % array.shape[axis], axis)
            x = from_numpy(np.ascontiguousarray(array))
        found.append(x)
    return found
