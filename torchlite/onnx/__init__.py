"""``torchlite.onnx``: models as files of ONNX, the format that other programs run; needs the extra ``onnx``."""

from torchlite.onnx.errors import OnnxExporterError, UnsupportedOperatorError
from torchlite.onnx.exporting import export
from torchlite.onnx.program import ONNXProgram

__all__ = ["ONNXProgram", "OnnxExporterError", "UnsupportedOperatorError", "export"]
