"""A model as one file of C: compiled by itself, it computes what the model does."""

import re
import subprocess

import numpy as np
import pytest
from first_output import First

import torchlite as torch
from torchlite import nn
from torchlite.backends.native import toolchain
from torchlite.compiler.standalone import WithoutC, compile_standalone, standalone

pytestmark = pytest.mark.skipif(not toolchain.available(), reason="needs a C compiler")


def built(made, folder):
    source, weights = folder / f"{made.name}.c", None
    source.write_text(made.source)
    (folder / f"{made.name}.h").write_text(made.header)
    if made.weights is not None:
        weights = folder / "weights"
        weights.write_bytes(made.weights)
    return compile_standalone(made, source, weights, folder)


image, sequence = (2, 4, 8, 8), (2, 5, 16)
MODELS = {  # several layers at once, because each takes a second to compile
    "images": (
        nn.Sequential(
            nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(3, 2, 1, ceil_mode=True),
            nn.Conv2d(6, 6, 3, padding=1, groups=3, padding_mode="reflect"), nn.LeakyReLU(0.1), nn.GroupNorm(2, 6),
            nn.Upsample(scale_factor=2, mode="bilinear"), nn.AvgPool2d(3, 2, 1, count_include_pad=False),
            nn.ConvTranspose2d(6, 4, 3, 2, groups=2), nn.ELU(), nn.ConstantPad2d(1, 0.5), nn.Softmax(1),
            nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(36, 3),
        ),
        image,
    ),
    "sequences": (
        nn.Sequential(
            nn.TransformerEncoderLayer(16, 2, 8, activation="gelu", batch_first=True),
            First(nn.LSTM(16, 6, batch_first=True, bidirectional=True)), First(nn.GRU(12, 7, batch_first=True)),
            First(nn.RNN(7, 4, batch_first=True)), nn.Conv1d(5, 6, 3, padding=1, groups=1), nn.MaxPool1d(2), nn.Softplus(),
            nn.Hardswish(), nn.LogSoftmax(1),
        ),
        sequence,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_it_computes_what_the_model_does(name, tmp_path):
    model, shape = MODELS[name]
    model.eval()
    torch.manual_seed(0)
    program = built(standalone(model, (torch.randn(*shape),), name), tmp_path)
    for _ in range(2):
        x = torch.randn(*shape)
        (got,) = program([x.numpy()])
        np.testing.assert_allclose(got, model(x).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_several_arrays_tokens_and_a_file_of_weights(tmp_path):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(9, 4)

        def forward(self, tokens, scale):
            x = self.embedding(tokens) * scale
            return x.amax(1), x.cumsum(2)

    torch.manual_seed(0)
    model = Model().eval()
    made = standalone(model, (torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 3, 1)), "two", embedded=0)
    assert len(made.weights) >= 9 * 4 * 4
    assert "int two_predict(const int64_t *in0, const float *in1, float *out0, float *out1);" in made.header
    assert "in1: float[2][3][1]" in made.header
    program = built(made, tmp_path)
    tokens, scale = torch.tensor([[0, 8, 3], [1, 1, 2]]), torch.randn(2, 3, 1)
    got = program([tokens.numpy(), scale.numpy()])
    for a, b in zip(got, model(tokens, scale), strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-6)
    with pytest.raises(RuntimeError, match=r"the inputs are refused: [12]"):
        program([tokens.numpy() + 1, scale.numpy()])
    alone = subprocess.run(program.command[:1], input=b"", capture_output=True, check=False)
    assert alone.returncode == 2 and b"expected the file of weights" in alone.stderr


def test_a_caller_in_c_links_against_it_without_warnings(tmp_path):
    """By the plainest flags, and with everything that is not of the interface hidden."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).eval()
    for name in ("one", "other"):
        made = standalone(model, (torch.ones(1, 3),), name)
        (tmp_path / f"{name}.c").write_text(made.source)
        (tmp_path / f"{name}.h").write_text(made.header)
    (tmp_path / "caller.c").write_text(
        '#include <stdio.h>\n#include "one.h"\n#include "other.h"\n'
        "int main(void) { float in[3] = {1, 1, 1}, a[2], b[2];\n"
        "  if (one_predict(in, a) || other_predict(in, b)) return 1;\n"
        '  printf("%.9g %.9g %.9g %.9g\\n", a[0], a[1], b[0], b[1]); return 0; }\n'
    )
    command = [
        *toolchain.compiler().command,
        "-O3",
        "-std=gnu11",
        "-o",
        "caller",
        "caller.c",
        "one.c",
        "other.c",
        "-lm",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    said = subprocess.run([tmp_path / "caller"], capture_output=True, text=True, check=True).stdout
    expected = model(torch.ones(1, 3)).detach().numpy().ravel()
    np.testing.assert_allclose([float(x) for x in said.split()], [*expected, *expected], rtol=1e-5)


def test_several_threads_compute_the_same(tmp_path):
    model = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 64), nn.GELU()).eval()
    made = standalone(model, (torch.zeros(8, 4, 8, 8),))
    (tmp_path / "model.c").write_text(made.source)
    x, results = torch.randn(8, 4, 8, 8).numpy(), []
    for flags in ([], ["-fopenmp"]):
        command = [
            *toolchain.compiler().command,
            "-O2",
            "-std=gnu11",
            "-DMODEL_MAIN",
            *flags,
            "-o",
            "program",
            "model.c",
            "-lm",
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        if flags and done.returncode:
            pytest.skip("the compiler has no OpenMP")
        assert done.returncode == 0, done.stderr
        results.append(
            subprocess.run([tmp_path / "program"], input=x.tobytes(), capture_output=True, check=True).stdout
        )
    assert results[0] == results[1]
    got = np.frombuffer(results[0], np.float32).reshape(8, 64)
    np.testing.assert_allclose(got, model(torch.tensor(x)).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_what_has_no_c_is_named_with_its_line():
    with pytest.raises(WithoutC, match=r"lgamma of float32\[2\], asked for in .*test_standalone.py:\d+, has no C here"):
        standalone(lambda x: torch.lgamma(x), (torch.ones(2),))
    with pytest.raises(WithoutC, match="pick_from_windows of"):
        standalone(lambda x: nn.functional.max_pool1d(x, 2, return_indices=True), (torch.ones(1, 2, 4),))
    with pytest.raises(WithoutC, match="an input or a result is float16"):
        standalone(lambda x: x + 1, (torch.ones(2, dtype=torch.float16),))


def test_names_are_those_of_c():
    with pytest.raises(ValueError, match="'a-b' is no name in C"):
        standalone(nn.ReLU(), (torch.ones(2),), "a-b")
    functions = re.findall(
        r"^(?!static|typedef|//|enum)[a-z_]\w* \**(\w+)\(", standalone(nn.ReLU(), (torch.ones(2),), "r").source, re.M
    )
    assert set(functions) <= {"r_predict_in", "r_predict", "main"}
