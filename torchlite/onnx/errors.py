"""What can go wrong when a model is exported to ONNX."""

from torchlite.errors import ExportError


class OnnxExporterError(ExportError, RuntimeError):
    """A model can't be exported; the message says why."""


class UnsupportedOperatorError(OnnxExporterError):
    """An operation has no form in ONNX here."""

    def __init__(self, name: str, line: str) -> None:
        super().__init__(
            f"{name}, asked for in {line or 'the model'}, has no form in ONNX here; "
            "docs/export.md lists the operators that have one"
        )
