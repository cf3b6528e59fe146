"""What models of tables and of text answer: the same as `torchlite predict`."""

import csv
import io
import json

import numpy as np
import pytest
import small_runs
from serving import outputs_of

from torchlite.errors import UsageError
from torchlite.serve.limits import Limits
from torchlite.serve.refusal import Refused
from torchlite.serve.requests import infer, metadata
from torchlite.serve.server import model_of
from torchlite.train.generation import Sampling
from torchlite.train.inputs import read_inputs
from torchlite.train.prediction import outputs, records, write_on
from torchlite.train.trained import load_trained

LIMITS = Limits(max_batch=8, max_tokens=20)

TABLE = """\
version: 1
name: small
data:
  type: csv
  train: rows.csv
  inputs:
    x: {kind: number, impute: mean}
    colour: {kind: category, values: [red, blue]}
  target: TARGET
  split: {val: 0.2}
  batch_size: 8
model: {layers: [{Linear: 8}, ReLU, {Linear: OUT}]}
loss: LOSS
optim: {type: adamw, lr: 0.02}
train: {steps: 30}
"""
TARGETS = {
    "class": ("{column: answer, kind: class, classes: [no, 'yes', maybe]}", 3, "cross_entropy"),
    "binary": ("{column: answer, kind: binary, classes: [no, 'yes']}", 1, "bce_with_logits"),
    "number": ("{column: price, kind: number, transform: log1p}", 1, "mse"),
}


def table(folder, kind):
    rng = np.random.default_rng(0)
    rows = ["x,colour,answer,price"]
    for x in rng.standard_normal(60):
        rows.append(f"{x:.3f},{'red' if x > 0 else 'blue'},{'yes' if x > 0 else 'no'},{abs(x):.3f}")
    (folder / "rows.csv").write_text("\n".join(rows) + "\n")
    target, width, loss = TARGETS[kind]
    text = TABLE.replace("TARGET", target).replace("OUT", str(width)).replace("LOSS", loss)
    return load_trained(small_runs.train(folder, text=text).path)


def asked(model, inputs, **more):
    return outputs_of(json.loads(infer(model, LIMITS, json.dumps({"inputs": inputs, **more}).encode(), lambda: None)))


def column(name, datatype, values):
    return {"name": name, "datatype": datatype, "shape": [len(values)], "data": values}


def colours(*values):
    return column("colour", "BYTES", list(values))


@pytest.mark.parametrize("kind", sorted(TARGETS))
def test_rows_of_a_table(tmp_path, kind):
    trained = table(tmp_path, kind)
    model = model_of(trained, LIMITS)
    assert metadata(model)["inputs"] == [
        {"name": "x", "datatype": "FP64", "shape": [-1], "parameters": {"nullable": True}},
        {"name": "colour", "datatype": "BYTES", "shape": [-1], "parameters": {"values": ["red", "blue"]}},
    ]
    found = asked(model, [colours("red", "blue", ""), column("x", "FP64", [0.1, 1 / 3, None])])
    lines = io.StringIO()
    csv.writer(lines).writerows([["x", "colour"], ["0.1", "red"], [repr(1 / 3), "blue"], ["", ""]])
    samples = read_inputs(trained, "-", io.StringIO(lines.getvalue())).samples
    (batch,) = outputs(trained, samples)
    told = records(trained, batch, 0, 1)
    assert found["outputs"] == batch.ravel().tolist()
    assert found["prediction"] == [record["prediction"] for record in told]
    if kind != "number":
        assert found["probabilities"] == [p for record in told for p in record["probabilities"].values()]


def test_rows_that_are_none(tmp_path):
    model = model_of(table(tmp_path, "binary"), LIMITS)

    def refused(*inputs):
        with pytest.raises(Refused) as caught:
            asked(model, list(inputs))
        return caught.value.status, str(caught.value)

    numbers = column("x", "FP64", [1.0])
    assert refused(numbers, colours("green")) == (
        400,
        "row 1 has 'green' in 'colour'; the configuration lists red, blue",
    )
    assert refused(numbers) == (400, "input 'colour' is missing; the model takes x, colour")
    assert refused(numbers, colours("red", "red")) == (400, "the inputs have different numbers of samples")
    assert "got the element None" in refused(numbers, colours(None))[1]
    assert "too large for FP64" in refused(column("x", "FP64", [10**400]), colours("red"))[1]
    status, message = refused(column("x", "FP64", [1e308]), colours("red"))
    assert status == 422
    assert "of sample 0 is NaN or infinite" in message


PICTURES = """\
version: 1
name: small
data:
  {type: image_folder, root: pictures, target: none, image: {size: [2, 3], channels: 1}, batch_size: 4, transforms: [to_float]}
model: {layers: [Flatten, {Linear: 2}]}
optim: {type: sgd, lr: 0.1}
train: {steps: 1}
"""


def test_what_tells_no_class(tmp_path):
    (tmp_path / "pictures").mkdir()
    for shade in range(4):
        (tmp_path / "pictures" / f"{shade}.pgm").write_bytes(b"P5 3 2 255\n" + bytes([shade * 60] * 6))
    trained = load_trained(small_runs.train(tmp_path, text=PICTURES).path)
    model = model_of(trained, LIMITS)
    assert metadata(model)["outputs"] == [{"name": "outputs", "datatype": "FP64", "shape": [-1, 2]}]
    images = {"name": "inputs", "datatype": "UINT8", "shape": [2, 1, 2, 3], "data": [60] * 6 + [180] * 6}
    (expected,) = outputs(trained, read_inputs(trained, str(tmp_path / "pictures"), None).samples)
    assert asked(model, [images])["outputs"] == pytest.approx(expected[[1, 3]].ravel().tolist(), rel=1e-6)


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    (folder / "text.txt").write_text("abc " * 200)
    return load_trained(small_runs.train(folder, text=small_runs.TEXT).path)


def prompts(*texts):
    return [column("prompt", "BYTES", list(texts))]


def test_text_is_written_on(writer):
    model = model_of(writer, LIMITS)
    assert metadata(model)["inputs"][0]["parameters"] == {"alphabet": "abc \n"}
    greedy = {"temperature": 0, "max_new_tokens": 7}
    assert asked(model, prompts("ab", "c"), parameters=greedy) == {"text": ["c abc a", " abc ab"]}
    rng = np.random.default_rng(5)
    expected = ["".join(write_on(writer, one, 20, Sampling(9.0, 3, 0.9), rng)) for one in ("a", "b")]
    drawn = {"temperature": 9, "top_k": 3, "top_p": 0.9, "seed": 5}
    assert asked(model, prompts("a", "b"), parameters=drawn) == {"text": expected}
    assert asked(model, prompts("ab"), parameters={"temperature": 1e-320, "max_new_tokens": 7}) == {"text": ["c abc a"]}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"max_new_tokens": 21}, "from 1 to 20, got 21"),
        ({"max_new_tokens": 2.0}, "expected a whole number"),
        ({"temperature": -1}, "temperature must not be negative"),
        ({"temperature": True}, "expected a number"),
        ({"temperature": 10**400}, "expected a number"),
        ({"top_k": 0}, "from 1 to"),
        ({"top_p": 0}, "top-p must be above 0"),
        ({"seed": -1}, "from 0 to"),
        ({"temprature": 1}, "no parameter 'temprature'; known are max_new_tokens, temperature"),
    ],
)
def test_parameters_of_text(writer, parameters, message):
    with pytest.raises(Refused, match=message) as caught:
        asked(model_of(writer, LIMITS), prompts("a"), parameters=parameters)
    assert caught.value.status == 400


def test_prompts_that_are_none(writer):
    model = model_of(writer, LIMITS)
    with pytest.raises(Refused, match="characters that the model does not know: 'z'"):
        asked(model, prompts("abz"))
    with pytest.raises(Refused, match="half a character"):
        asked(model, prompts("\ud800"))
    with pytest.raises(Refused, match="a text may have") as caught:
        asked(model, prompts("a" * (1 << 20) + "a"))
    assert caught.value.status == 413


def test_no_more_is_computed_when_the_time_is_over(writer):
    model, calls = model_of(writer, LIMITS), 0

    def check():
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Refused(504, "late")

    with pytest.raises(Refused, match="late"):
        infer(model, LIMITS, json.dumps({"inputs": prompts("a")}).encode(), check)


def test_several_models_are_not_served(writer):
    from dataclasses import replace

    config = writer.config.model_copy(update={"models": {"generator": None, "critic": None}})
    with pytest.raises(UsageError, match="this one has generator, critic"):
        model_of(replace(writer, config=config), LIMITS)
