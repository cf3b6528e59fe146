"""Models out of a configuration: every layer by name, sizes that follow from the input, structures, and what does not fit."""

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from small_runs import CONFIG, train

import torchlite
from torchlite import nn
from torchlite.devices import CPU
from torchlite.train import layers as layers_module
from torchlite.train import trained
from torchlite.train.config.load import require_config
from torchlite.train.config.schema import Config
from torchlite.train.config.validate import validate
from torchlite.train.layers import called
from torchlite.train.model import build_model, trace_model
from torchlite.train.registry import registry

HEAD = """\
version: 1
data: {type: digits, batch_size: 4, transforms: [{to_float: 16}]}
optim: {type: sgd, lr: 0.1}
train: {steps: 1}
"""

SEQUENCE, IMAGE, SIGNAL, VOLUME, TOKENS = (6, 8), (8, 6, 6), (8, 12), (4, 4, 4, 4), (5,)
EXAMPLES: dict[str, tuple[tuple[int, ...], str]] = {
    **dict.fromkeys(
        (
            *("AlphaDropout", "CELU", "Dropout", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish"),
            *("Hardtanh", "Identity", "LeakyReLU", "LogSigmoid", "Mish", "PReLU", "RReLU", "ReLU"),
            *("ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softshrink", "Softsign", "Tanh"),
            *("Tanhshrink", "LayerNorm", "RMSNorm", "Flatten", "Positions", "Pool", "Concat", "Add", "Multiply"),
        ),
        (SEQUENCE, ""),
    ),
    **dict.fromkeys(("LogSoftmax", "Softmax", "Softmin"), (SEQUENCE, "{dim: 2}")),
    **dict.fromkeys(
        ("Dropout2d", "Softmax2d", "BatchNorm2d", "InstanceNorm2d", "SyncBatchNorm", "GlobalAvgPool2d"), (IMAGE, "")
    ),
    **dict.fromkeys(("Dropout1d", "BatchNorm1d", "InstanceNorm1d", "FeatureAlphaDropout"), (SIGNAL, "")),
    **dict.fromkeys(("Dropout3d", "BatchNorm3d", "InstanceNorm3d"), (VOLUME, "")),
    **{
        f"{kind}{n}d": (shape, argument)
        for n, shape in ((1, SIGNAL), (2, IMAGE), (3, VOLUME))
        for kind, argument in {
            **dict.fromkeys(("AdaptiveAvgPool", "AdaptiveMaxPool", "AvgPool", "MaxPool"), "2"),
            **dict.fromkeys(("Conv", "ConvTranspose"), "[3, 2]"),
            **dict.fromkeys(("CircularPad", "ReflectionPad", "ReplicationPad", "ZeroPad"), "1"),
            "ConstantPad": "[1, 0.5]",
            "LPPool": "[2, 2]",
        }.items()
    },
    "FractionalMaxPool2d": (IMAGE, "{kernel_size: 2, output_size: 3}"),
    "FractionalMaxPool3d": (VOLUME, "{kernel_size: 2, output_ratio: 0.5}"),
    "ChannelShuffle": (IMAGE, "2"),
    "CrossMapLRN2d": (IMAGE, "3"),
    "LocalResponseNorm": (IMAGE, "3"),
    "GroupNorm": (IMAGE, "4"),
    "PixelShuffle": (IMAGE, "2"),
    "PixelUnshuffle": (IMAGE, "2"),
    "Unfold": (IMAGE, "2"),
    "Fold": (SIGNAL, "{output_size: [4, 5], kernel_size: 2}"),
    "Unflatten": (SIGNAL, "{dim: 1, unflattened_size: [2, 4]}"),
    "Upsample": (IMAGE, "{scale_factor: 2}"),
    "UpsamplingBilinear2d": (IMAGE, "{scale_factor: 2}"),
    "UpsamplingNearest2d": (IMAGE, "{size: 9}"),
    "Threshold": (SEQUENCE, "[0.1, 0.0]"),
    "Permute": (SEQUENCE, "{dims: [0, 2, 1]}"),
    "Linear": (SEQUENCE, "3"),
    "Bilinear": (SEQUENCE, "{out_features: 3, inputs: [previous, input]}"),
    "CosineSimilarity": (SEQUENCE, "{inputs: [previous, input]}"),
    "PairwiseDistance": (SEQUENCE, "{inputs: [previous, input]}"),
    "Embedding": (TOKENS, "3"),
    "EmbeddingBag": (TOKENS, "3"),
    **dict.fromkeys(("RNN", "LSTM", "GRU"), (SEQUENCE, "{hidden_size: 3, bidirectional: true}")),
    **dict.fromkeys(("RNNCell", "LSTMCell", "GRUCell"), ((8,), "3")),
    "MultiheadAttention": (SEQUENCE, "2"),
    "SelfAttention": (SEQUENCE, "{num_heads: 2, causal: true}"),
    "TransformerEncoderLayer": (SEQUENCE, "{nhead: 2, dim_feedforward: 16, activation: gelu}"),
    "TransformerEncoder": (SEQUENCE, "{encoder_layer: {TransformerEncoderLayer: 2}, num_layers: 2, norm: LayerNorm}"),
    "TransformerDecoderLayer": (SEQUENCE, "{nhead: 2, dim_feedforward: 16, inputs: [previous, input]}"),
    "TransformerDecoder": (
        SEQUENCE,
        "{decoder_layer: {TransformerDecoderLayer: 2}, num_layers: 2, inputs: [previous, input]}",
    ),
    "Transformer": (SEQUENCE, "{nhead: 2, num_encoder_layers: 1, dim_feedforward: 16, inputs: [input, previous]}"),
    **dict.fromkeys(("resnet18", "resnet34", "resnet50"), (IMAGE, "{num_classes: 3, stem: small}")),
    "gpt": (TOKENS, "{layers: 1, heads: 2, d_model: 8}"),
    "text_transformer": (TOKENS, "{num_classes: 3, layers: 1, heads: 2, d_model: 8}"),
    "tabular_mlp": ((7,), "{hidden: [8, 4], out_features: 2}"),
    "Sequential": (SEQUENCE, "[{Linear: 3}, ReLU]"),
    "Checkpointed": (SEQUENCE, "[{Linear: 3}, Tanh]"),
    "residual": (SEQUENCE, "{shortcut: auto, layers: [{Linear: 3}, ReLU]}"),
    "branches": (SEQUENCE, "[[{Linear: 3}], [{Linear: 3}, ReLU], [{Linear: 3}]]"),
}
UNPOOLED = ("MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d")


def model_of(layers: str, shape: tuple[int, ...], folder: Path, head: str = HEAD) -> tuple[Any, Any, Config]:
    """The trace and the module of a list of layers, or of a section 'model', for samples of ``shape``."""
    path = folder / "config.yaml"
    section = (
        layers
        if layers.startswith("model:")
        else "model:\n  layers:\n" + textwrap.indent(textwrap.dedent(layers), "    ")
    )
    path.write_text(head + section)
    config = require_config(path)
    dtype = torchlite.int64 if shape == TOKENS or "to_int64" in head else torchlite.float32
    trace = trace_model(config, shape, dtype, 4)
    assert trace.problem is None, trace.problem
    torchlite.manual_seed(0)
    return trace, build_model(trace, CPU), config


def batch(*shape: int, seed: int = 0) -> Any:
    return torchlite.from_numpy(np.random.default_rng(seed).normal(size=(4, *shape)).astype(np.float32))


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_layer_by_name(name: str, tmp_path: Path) -> None:
    shape, arguments = EXAMPLES[name]
    trace, model, _ = model_of(f"- {name}: {arguments}" if arguments else f"- {name}", shape, tmp_path)
    x = torchlite.arange(20).view(4, 5) % 17 if shape == TOKENS else batch(*shape)
    out = model(x)
    assert out.shape == trace.output.shape
    assert [p.shape for p in model.parameters()] == [p.shape for m in trace.modules() for p in m.parameters()]
    if any(p.requires_grad for p in model.parameters()):
        out.square().sum().backward()
        assert any(p.grad is not None and bool((p.grad != 0).any()) for p in model.parameters())


@pytest.mark.parametrize(("n", "shape"), [(1, SIGNAL), (2, IMAGE), (3, VOLUME)])
def test_unpooling_by_the_indices_of_a_layer_before(n: int, shape: tuple[int, ...], tmp_path: Path) -> None:
    layers = f"""
    - MaxPool{n}d: {{kernel_size: 2, return_indices: true, name: pool}}
    - MaxUnpool{n}d: {{kernel_size: 2, inputs: [previous, pool.1]}}
    """
    _, model, _ = model_of(layers, shape, tmp_path)
    x = batch(*shape)
    kept = model(x)
    assert kept.shape == x.shape
    assert bool(((kept == x) | (kept == 0)).all()) and int((kept != 0).sum()) == x.numel() // 2**n


def test_there_is_an_example_of_every_layer() -> None:
    assert {*EXAMPLES, *UNPOOLED} == set(registry.names("layer"))


def test_recurrent_layers_give_their_states_or_the_last(tmp_path: Path) -> None:
    for kind in ("RNN", "LSTM", "GRU"):
        for both in ("false", "true"):
            layer = f"- {kind}: {{hidden_size: 3, num_layers: 2, bidirectional: {both}"
            x = batch(*SEQUENCE)
            _, states, _ = model_of(layer + "}", SEQUENCE, tmp_path)
            _, last, _ = model_of(layer + ", output: last}", SEQUENCE, tmp_path)
            _, hidden, _ = model_of(layer + ", output: 1}" if kind != "LSTM" else layer + "}", SEQUENCE, tmp_path)
            whole = states(x)  # (N, T, D · H)
            parts = [whole[:, -1, :3], *([whole[:, 0, 3:]] if both == "true" else [])]
            assert bool((last(x) == torchlite.cat(parts, dim=1)).all())
            if kind != "LSTM":
                assert hidden(x).shape == (2 * len(parts), 4, 3)


def test_a_residual_adds_its_input_or_what_the_shortcut_makes_of_it(tmp_path: Path) -> None:
    x = batch(*IMAGE)
    conv = "{Conv2d: {out_channels: 8, kernel_size: 3, padding: 1}}"
    _, plain, _ = model_of(f"- residual: [{conv}, ReLU]", IMAGE, tmp_path)
    assert list(plain.state_dict()) == ["0.layers.0.weight", "0.layers.0.bias"]
    assert bool((plain(x) == plain.get_submodule("0").layers(x) + x).all())

    strided = "{Conv2d: {out_channels: 5, kernel_size: 3, stride: 2, padding: 1}}"
    _, auto, _ = model_of(f"- residual: {{shortcut: auto, layers: [{strided}]}}", IMAGE, tmp_path)
    shortcut = auto.get_submodule("0").shortcut[0]
    assert isinstance(shortcut, nn.Conv2d) and shortcut.kernel_size == (1, 1) and shortcut.stride == (2, 2)
    assert bool((auto(x) == auto.get_submodule("0").layers(x) + shortcut(x)).all())

    _, written, _ = model_of(
        f"- residual: {{shortcut: [{{AvgPool2d: 2}}, {{Conv2d: [5, 1]}}], layers: [{strided}]}}", IMAGE, tmp_path
    )
    assert isinstance(written.get_submodule("0").shortcut[0], nn.AvgPool2d)
    assert written(x).shape == (4, 5, 3, 3)


@pytest.mark.parametrize("join", ["concat", "stack", "add", "multiply"])
def test_branches(join: str, tmp_path: Path) -> None:
    layers = f"""
    - branches:
        join: {join}
        dim: 2
        paths:
          - [{{Linear: 8}}, ReLU]
          - - Linear: 8
          - []
    """
    x = batch(*SEQUENCE)
    _, model, _ = model_of(layers, SEQUENCE, tmp_path)
    one, two = (path(x) for path in list(model.get_submodule("0").paths)[:2])
    expected = {
        "concat": lambda: torchlite.cat((one, two, x), dim=2),
        "stack": lambda: torchlite.stack((one, two, x), dim=2),
        "add": lambda: one + two + x,
        "multiply": lambda: one * two * x,
    }[join]()
    assert bool((model(x) == expected).all())


def test_layers_take_the_values_of_named_layers_before_them_and_around_them(tmp_path: Path) -> None:
    layers = """
    - Linear: {out_features: 8, name: memory}
    - ReLU
    - residual:
        - LayerNorm
        - MultiheadAttention: {num_heads: 2, inputs: [previous, memory, memory], name: look}
        - Concat: {inputs: [previous, look, input], dim: 2}
        - Linear: 8
    - Add: {inputs: [previous, memory]}
    """
    x = batch(*SEQUENCE)
    trace, model, _ = model_of(layers, SEQUENCE, tmp_path)
    assert list(dict(model.named_children())) == ["memory", "1", "2", "3"]
    memory = model.memory(x)
    before = memory.relu()
    normed, attention, _, last = model.get_submodule("2").layers.children()
    looked = attention(normed(before), memory, memory)[0]
    inner = last(torchlite.cat((looked, looked, x), dim=2))
    assert bool((model(x) == inner + before + memory).all())
    assert trace.output.shape == (4, *SEQUENCE)


def test_values_without_a_name_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, model, _ = model_of("- ReLU: {name: first}\n- ReLU\n- Add: {inputs: [previous, first]}", SEQUENCE, tmp_path)
    seen: list[set[str]] = []
    monkeypatch.setattr(layers_module, "called", lambda *a: (seen.append(set(a[3])), called(*a))[1])
    model(batch(*SEQUENCE))
    assert seen == [{"input"}, {"input", "first"}, {"input", "first"}]


def test_repeated_layers_differ_by_their_variables(tmp_path: Path) -> None:
    layers = """
    - repeat:
        vars: {width: [4, 6], block: [a, b]}
        layers:
          - Linear: {out_features: "${width * 2}", name: "first_${block}"}
          - repeat: {n: 2, layers: [{residual: [{Linear: "${width * 2}"}]}]}
    - Linear: $data.num_classes
    """
    _, model, _ = model_of(layers, SEQUENCE, tmp_path)
    names = list(dict(model.named_children()))
    assert names == ["first_a", "1", "2", "first_b", "4", "5", "6"]
    assert [model.get_submodule(name).out_features for name in ("first_a", "first_b", "6")] == [8, 12, 10]
    assert model.get_submodule("5").layers[0].in_features == 12


def test_tokens_with_positions(tmp_path: Path) -> None:
    head = HEAD.replace("[{to_float: 16}]", "[to_int64]")
    layers = """
    - Flatten
    - Embedding: 12
    - Positions: sinusoidal
    - TransformerEncoder: {encoder_layer: {TransformerEncoderLayer: {nhead: 2, dim_feedforward: 8}}, num_layers: 1}
    - Pool: max
    - Linear: $data.num_classes
    """
    path = tmp_path / "config.yaml"
    model_of(layers, (64,), tmp_path, head)
    report = validate([str(path)], options="smoke")
    assert [str(found) for found in report.diagnostics] == []
    assert report.files[0].summary["spec"] == "[N, 1, 8, 8] -> [N, 10]"
    _, model, _ = model_of(layers, TOKENS, tmp_path, head)
    assert model.get_submodule("1").num_embeddings == 17  # pixels from 0 to 16
    model.eval()
    x = torchlite.arange(20).view(4, 5) % 17
    assert bool((model(x) - model(x.flip(1))).abs().max() > 1e-3), "without positions the order would not matter"


def test_attention_looks_back_only_where_it_is_causal(tmp_path: Path) -> None:
    _, model, _ = model_of("- SelfAttention: {num_heads: 2, causal: true}", SEQUENCE, tmp_path)
    x = batch(*SEQUENCE)
    changed = x.clone()
    changed[:, 4:] += 1
    same = (model(x) == model(changed)).all(dim=2).all(dim=0)
    assert same.tolist() == [True] * 4 + [False] * 2


def test_a_resolved_configuration_gives_the_same_model(tmp_path: Path) -> None:
    layers = """
    - Linear: {out_features: 8, name: memory}
    - Sequential: [{Dropout: 0.1}, {residual: {shortcut: auto, layers: [{Linear: 4}]}}]
    - branches: [[{Linear: 2}], []]
    - LSTM: {hidden_size: 3, output: last}
    - TransformerEncoder: {encoder_layer: {TransformerEncoderLayer: 1}, num_layers: 2}
    """.replace("- branches: [[{Linear: 2}], []]", "- branches: {dim: 2, paths: [[{Linear: 2}], []]}")
    layers = layers[: layers.index("    - TransformerEncoder")] + "    - Linear: 10\n"
    _, model, config = model_of(layers, SEQUENCE, tmp_path)
    path = tmp_path / "resolved.yaml"
    path.write_text(yaml.safe_dump(config.resolved()))
    again = require_config(path)
    assert again.model == config.model
    other = build_model(trace_model(again, SEQUENCE, torchlite.float32, 4), CPU)
    assert {k: v.shape for k, v in other.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}


def test_a_trained_model_of_structures_comes_back(tmp_path: Path) -> None:
    layers = """\
  layers:
    - Flatten: [1, 2]
    - GRU: {hidden_size: 8, bidirectional: true, name: states}
    - residual: [LayerNorm, {SelfAttention: {num_heads: 2}}]
    - Concat: {inputs: [previous, states], dim: 2}
    - Pool: max
    - Linear: $data.num_classes
"""
    start, end = CONFIG.index("  layers:"), CONFIG.index("optim:")
    run = train(tmp_path, "train.steps=10", "early_stop=null", text=CONFIG[:start] + layers + CONFIG[end:])
    one, two = (trained.load_trained(run.path, "last").model for _ in range(2))
    x = batch(1, 8, 8)
    assert bool((one(x) == two(x)).all())
    assert "states.weight_ih_l0" in one.state_dict()


DOCUMENT = (Path(__file__).parents[2] / "docs" / "models.md").read_text()


@pytest.mark.parametrize("layers", re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT, flags=re.M | re.S))
def test_the_examples_of_the_document_are_built(layers: str, tmp_path: Path) -> None:
    shape = (1, 8, 8) if any(name in layers for name in ("Flatten", "Conv2d", "resnet")) else SEQUENCE
    trace, model, _ = model_of(layers, shape, tmp_path)
    assert model(batch(*shape)).shape == trace.output.shape


MISTAKES: dict[str, tuple[str, str, str]] = {
    # what is wrong: the layers with «the place», the code, and a part of the message or hint
    "a size that contradicts the input": ("- Linear: {in_features: «99», out_features: 4}", "TL501", "leave it out: 8"),
    "a size inside a residual": (
        "- residual:\n    - Linear: 4\n    - LayerNorm: {normalized_shape: «5»}",
        "TL501",
        "has 4",
    ),
    "a size inside a branch": (
        "- branches: [[{Linear: 4}], [{Linear: {in_features: «5», out_features: 4}}]]",
        "TL501",
        "8",
    ),
    "a size in an argument": (
        "- TransformerEncoder: {num_layers: 1, encoder_layer: {TransformerEncoderLayer: {nhead: 2, d_model: «6»}}}",
        "TL501",
        "leave it out: 8",
    ),
    "heads": ("- «SelfAttention»: {num_heads: 3}", "TL501", "8 features can't be divided among 3 heads"),
    "an image layer on a sequence": ("- «Conv2d»: [4, 3]", "TL501", "can't take its input [N, 6, 8]"),
    "unequal shapes": ("- «residual»: [{Linear: 4}]", "TL501", "shortcut: auto"),
    "a shortcut that cannot be made": (
        "- residual: {shortcut: «auto», layers: [Flatten]}",
        "TL501",
        "write the layers",
    ),
    "unequal branches": ("- «branches»: {join: add, paths: [[{Linear: 4}], []]}", "TL501", "[N, 6, 4] and [N, 6, 8]"),
    "too few inputs": ("- «TransformerDecoderLayer»: {nhead: 2}", "TL501", "inputs: [previous, NAME]"),
    "too many inputs": ("- Linear: {out_features: 4, inputs: «[previous, input]»}", "TL501", "it takes 1 inputs"),
    "a part that is not there": ("- «Linear»: {out_features: 4, output: 1}", "TL501", "output: 1"),
    "no recurrent layer": ("- «Linear»: {out_features: 4, output: last}", "TL501", "only recurrent layers"),
    "no tokens": ("- «Embedding»: 4", "TL501", "to_int64"),
    "an unknown layer inside": ("- residual: [«LayrNorm»]", "TL303", "did you mean 'LayerNorm'?"),
    "a lazy layer": ("- «LazyLinear»: 4", "TL303", "there is no layer 'LazyLinear'"),
    "an unknown argument inside": (
        "- branches: [[{Linear: {«out_feature»: 4}}]]",
        "TL203",
        "did you mean 'out_features'?",
    ),
    "an argument of a structure": (
        "- residual: {«shorcut»: auto, layers: [ReLU]}",
        "TL203",
        "did you mean 'shortcut'?",
    ),
    "a key that all layers have": ("- Linear: {out_features: 4, «input»: previous}", "TL203", "did you mean 'inputs'?"),
    "a shortcut of another kind": ("- residual: {shortcut: «yes please», layers: [ReLU]}", "TL210", "'auto'"),
    "layers that are no list": ("- residual: {layers: «7»}", "TL210", "layers"),
    "paths that are no lists": ("- branches: «[ReLU, Tanh]»", "TL210", "list of lists"),
    "a layer that is a number": ("- TransformerEncoder: {encoder_layer: «7», num_layers: 1}", "TL210", "encoder_layer"),
    "an input of no name": (
        "- Linear: {out_features: 8, name: first}\n- Add: {inputs: [«frist», previous]}",
        "TL301",
        "'first'?",
    ),
    "an input that comes later": ("- Add: {inputs: [«late», previous]}\n- ReLU: {name: late}", "TL301", "late"),
    "a name inside that is not seen outside": (
        "- residual: [{ReLU: {name: inner}}]\n- Add: {inputs: [previous, «inner»]}",
        "TL301",
        "inner",
    ),
    "a name twice": ("- ReLU: {name: a}\n- ReLU: {name: «a»}", "TL214", "called 'a'"),
    "a name that is taken": ("- ReLU: {name: «previous»}", "TL205", "taken"),
    "an input that is no name": ("- ReLU: {inputs: «7»}", "TL210", "names of values"),
    "an output that is no part": ("- ReLU: {output: «-1»}", "TL210", "'last'"),
    "repeat without layers": ("- repeat: «{n: 3}»", "TL204", "layers"),
    "repeat without a number": ("- repeat: «{layers: [ReLU]}»", "TL205", "n"),
    "repeat no times": ("- repeat: {n: «0», layers: [ReLU]}", "TL205", "from 1"),
    "repeat without end": ("- repeat: {n: «1000000000», layers: [ReLU]}", "TL205", "from 1"),
    "repeat too often": ("- repeat: {n: 5000, layers: [{repeat: «{n: 5000, layers: [ReLU]}»}]}", "TL107", "expand"),
    "repeat with another key": ("- repeat: {n: 2, «times»: 3, layers: [ReLU]}", "TL201", "repeat"),
    "repeat with too few values": (
        "- repeat: {n: 3, vars: {c: «[1, 2]»}, layers: [{Linear: $c}]}",
        "TL205",
        "2 values",
    ),
    "an unknown variable of repeat": (
        "- repeat: {vars: {wide: [1, 2]}, layers: [{Linear: «$wid»}]}",
        "TL301",
        "'wide'?",
    ),
    "a mistake that is repeated": (
        "- repeat: {n: 5, layers: [{Linear: {out_features: 4, «bais»: true}}]}",
        "TL203",
        "bias",
    ),
}


@pytest.fixture
def diagnose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    monkeypatch.chdir(tmp_path)

    def run(text: str) -> Any:
        Path("config.yaml").write_text(text, encoding="utf-8")
        return validate(["config.yaml"])

    return run


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_found_at_its_place(name: str, diagnose: Callable[[str], Any]) -> None:
    layers, code, words = MISTAKES[name]
    marked = HEAD + "model:\n  layers:\n    - Flatten: [1, 2]\n    - Linear: 8\n    - Permute: {dims: [0, 2, 1]}\n"
    marked += "    - Linear: 6\n    - Permute: {dims: [0, 2, 1]}\n" + textwrap.indent(layers, "    ") + "\n"
    marked += "    - Flatten\n    - Linear: 10\n"
    before, _, rest = marked.partition("«")
    inside, _, _ = rest.partition("»")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    found = diagnose(marked.replace("«", "").replace("»", "")).diagnostics
    errors = [one for one in found if one.severity == "error"]
    assert [(one.code, one.line, one.col) for one in errors] == [(code, line, column)], [str(one) for one in found]
    (error,) = errors
    if "\n" not in inside:
        assert error.end_col == column + len(inside)
    assert words in error.message + (error.hint or "")
