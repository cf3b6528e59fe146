"""Every operator that has a form in ONNX, with the samples of its record: ONNX Runtime computes what torchlite does."""

import re
from pathlib import Path

import numpy as np
import pytest

import torchlite as torch
from torchlite import ir
from torchlite._tensor import wrap
from torchlite.dispatch import apply

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from torchlite.onnx import UnsupportedOperatorError, export  # noqa: E402
from torchlite.onnx.exporting import difference  # noqa: E402
from torchlite.onnx.operators import RULES  # noqa: E402

torch.vmap  # noqa: B018 - loads every module that registers operators
NAMES = sorted(
    name
    for name in RULES
    if ir.REGISTRY[name].samples is not None and ir.REGISTRY[name].samples(np.random.default_rng(0))
)
INTEGERS = {"bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor"}
REFUSED = {  # samples that have no form, by a part of the error
    "gru": "packed", "index": "several tensors behind a slice", "lstm": "packed", "rnn": "packed",
    "sum_windows": "with dilation", "vector_norm": "p = 0",
}  # fmt: skip


def sample_array(name, array):
    array = np.asarray(array)
    if array.dtype.kind == "f":
        return array.astype(np.int64 if name in INTEGERS else np.float32)
    return array


def cases():
    for name in NAMES:
        for i, sample in enumerate(ir.REGISTRY[name].samples(np.random.default_rng(0))):
            if not any(np.asarray(a).dtype.kind == "c" or 0 in np.shape(a) for a in sample.arrays):
                yield pytest.param(name, sample, id=f"{name}-{i}")


@pytest.mark.parametrize(("name", "sample"), list(cases()))
def test_onnx_runtime_computes_the_same(name, sample):
    op, params = ir.REGISTRY[name], dict(sample.params)
    arrays = [sample_array(name, a) for a in sample.arrays]
    used = 1 if name in ("lstm", "gru", "max_pool") else None

    def function(*xs):
        results = apply(op, [*xs, *weights], params)
        return results[:used] if isinstance(results, tuple) else results

    # Recurrent layers have constant weights: they are part of the file.
    states = {"lstm": 3, "gru": 2, "rnn": 2}.get(name, len(arrays))
    weights = [wrap(a) for a in arrays[states:]]
    inputs = tuple(wrap(a) for a in arrays[:states])
    try:
        program = export(function, inputs, input_names=[f"x{i}" for i in range(len(inputs))])
    except UnsupportedOperatorError as error:
        assert name in REFUSED and (REFUSED[name] in str(error) or "projection" in str(error))
        return
    assert difference(program, function, inputs, 1e-5) <= 1e-5


def test_an_operator_without_a_form_is_named_with_its_line():
    with pytest.raises(
        UnsupportedOperatorError, match=r"lgamma, asked for in .*test_every_operator.py:\d+, has no form in ONNX"
    ):
        export(lambda x: torch.lgamma(x), torch.ones(2))


def test_the_page_lists_the_operators():
    page = (Path(__file__).parents[2] / "docs/export.md").read_text()
    listed = page.partition("<!-- operators: onnx -->")[2].partition("<!-- end: operators -->")[0]
    assert re.findall(r"`(\w+)`", listed) == sorted(RULES)
