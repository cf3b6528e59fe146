"""A model in ONNX: saving it, running it, and comparing what it computes."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchlite import backends
from torchlite._tensor import Tensor
from torchlite.ops.exchange import from_numpy
from torchlite.serialization.atomic import write_file


class ONNXProgram:
    """A model in ONNX.

    Attributes:
        model_proto: the message of the package ``onnx``.
    """

    def __init__(self, model_proto: Any) -> None:
        self.model_proto = model_proto
        self._run: Any = None

    def save(self, destination: Any) -> None:
        """Write it to a path, or to an open file."""
        content = self.model_proto.SerializeToString()
        if hasattr(destination, "write"):
            destination.write(content)
        else:
            write_file(Path(destination), [content])

    def __call__(self, *args: Tensor) -> tuple[Tensor, ...]:
        """What ONNX Runtime computes where it is installed, and ONNX's reference implementation otherwise."""
        arrays = [backends.to_numpy(x.detach()._data) for x in args]
        return tuple(from_numpy(np.array(a)) for a in self.run(arrays))

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """The same of arrays of NumPy."""
        if self._run is None:
            self._run = _runtime(self.model_proto) or _reference(self.model_proto)
        names = [given.name for given in self.model_proto.graph.input]
        results: list[Any] = self._run(None, dict(zip(names, arrays, strict=True)))
        return results

    @property
    def runner(self) -> str:
        """What runs it."""
        return "onnxruntime" if importlib.util.find_spec("onnxruntime") is not None else "onnx.reference"


def _runtime(model: Any) -> Any:
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run


def _reference(model: Any) -> Any:
    return importlib.import_module("onnx.reference").ReferenceEvaluator(model).run
