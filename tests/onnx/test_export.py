"""`torchlite.onnx.export`: layers, lengths that vary, names, and what is refused."""

import io

import numpy as np
import pytest
from first_output import First

import torchlite as torch
from torchlite import nn

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from torchlite.onnx import OnnxExporterError, export  # noqa: E402
from torchlite.onnx.exporting import difference  # noqa: E402


class Classifier(nn.Module):
    """Tokens through an LSTM to its last states."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.lstm = nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True)

    def forward(self, x):
        _, (h, c) = self.lstm(self.embedding(x))
        return torch.cat([h[-1], h[-2], c[-1]], 1)


image, sequence = (3, 8, 8), (5, 16)
LAYERS = {
    "convolutional": (
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(4, 3),
        ),
        image,
    ),
    "transposed": (nn.ConvTranspose2d(3, 4, 3, 2, padding=1, output_padding=1), image),
    "separable": (nn.Conv2d(3, 6, 3, groups=3, dilation=2, bias=False), image),
    "pooling": (nn.Sequential(nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(3, 2, 1, count_include_pad=False)), image),
    "upsampling": (nn.Upsample(scale_factor=2, mode="bilinear"), image),
    "reflection": (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), image),
    "unfold": (nn.Unfold(2), image),
    "group_norm": (nn.GroupNorm(1, 3), image),
    "encoder": (nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), sequence),
    "attention": (nn.TransformerEncoderLayer(16, 4, 8, activation="gelu", norm_first=True, batch_first=True), sequence),
    "lstm": (First(nn.LSTM(16, 8, 2, batch_first=True, bidirectional=True)), sequence),
    "gru": (First(nn.GRU(16, 8, batch_first=True)), sequence),
    "rnn": (First(nn.RNN(16, 8, nonlinearity="relu", batch_first=True)), sequence),
    "activations": (
        nn.Sequential(nn.ELU(), nn.SELU(), nn.CELU(0.5), nn.Mish(), nn.Hardswish(), nn.PReLU(), nn.GELU("tanh"), nn.GLU()),
        sequence,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_with_any_number_of_samples(name):
    model, shape = LAYERS[name]
    model.eval()
    program = export(model, torch.randn(2, *shape), input_names=["x"], dynamic_axes={"x": {0: "batch"}})
    for n in (1, 4, 7):
        assert difference(program, model, (torch.randn(n, *shape),), 1e-5) <= 1e-5


def test_tokens_states_and_newer_operators():
    model = Classifier().eval()
    tokens = torch.randint(0, 11, (2, 7))
    program = export(model, tokens, input_names=["tokens"], opset_version=20, dynamic_axes={"tokens": [0]})
    assert [(one.domain, one.version) for one in program.model_proto.opset_import] == [("", 20)]
    for n in (1, 6):
        assert difference(program, model, (torch.randint(0, 11, (n, 7)),), 1e-5) <= 1e-5


def test_another_dimension_may_vary():
    model = nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU()).eval()
    program = export(model, torch.randn(2, 3, 9), input_names=["x"], dynamic_axes={"x": {2: "length"}})
    assert difference(program, model, (torch.randn(2, 3, 20),), 1e-5) <= 1e-5


def test_names_weights_and_files(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2)).eval()
    program = export(model, (torch.ones(4, 3),), tmp_path / "model.onnx", output_names=["logits"], verify=True)
    loaded = onnx.load(tmp_path / "model.onnx")
    assert [one.name for one in loaded.graph.input] == ["input"]
    assert [one.name for one in loaded.graph.output] == ["logits"]
    assert {one.name for one in loaded.graph.initializer} == {"0.weight", "0.bias"}
    written = io.BytesIO()
    program.save(written)
    assert written.getvalue() == (tmp_path / "model.onnx").read_bytes()
    (got,) = program(torch.ones(4, 3))
    np.testing.assert_allclose(got.numpy(), model(torch.ones(4, 3)).detach().numpy(), rtol=1e-6)


def test_a_model_that_depends_on_the_length_otherwise_is_refused():
    with pytest.raises(OnnxExporterError, match="depends on the length"):
        export(lambda x: x * x.shape[0], torch.ones(2, 3), input_names=["x"], dynamic_axes={"x": [0]})


def test_training_mode_is_refused():
    with pytest.raises(OnnxExporterError, match=r"call model.eval\(\)"):
        export(nn.BatchNorm1d(3), torch.ones(2, 3))
    with pytest.raises(OnnxExporterError, match=r"call model.eval\(\)"):
        export(nn.Dropout(), torch.ones(2, 3))


def test_numbers_that_decide_are_refused():
    with pytest.raises(OnnxExporterError, match="can't be captured"):
        export(lambda x: x if x.sum() > 0 else -x, torch.ones(2))


def test_operators_of_another_version_are_refused():
    with pytest.raises(OnnxExporterError, match="opset_version is 11, expected 18"):
        export(nn.ReLU(), torch.ones(2), opset_version=11)


def test_other_numbers_are_noticed():
    model = nn.Linear(2, 2).eval()
    program = export(model, torch.ones(1, 2))
    with torch.no_grad():
        model.bias += 1
    with pytest.raises(OnnxExporterError, match="differ by"):
        difference(program, model, (torch.ones(1, 2),))


def test_the_reference_implementation_serves_without_onnx_runtime(monkeypatch):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    program = export(model, torch.randn(2, 3, 8, 8))
    monkeypatch.setattr("torchlite.onnx.program._runtime", lambda model: None)
    assert difference(program, model, (torch.randn(2, 3, 8, 8),), 1e-5) <= 1e-5
