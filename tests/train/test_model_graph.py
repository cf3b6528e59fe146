"""Pictures of models, and the sizes of their layers."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
from small_runs import write_config

from torchlite.train.check import size_of, traces_of
from torchlite.train.config.load import require_config
from torchlite.train.layer_sizes import layer_sizes
from torchlite.train.model_graph import as_mermaid, as_svg

LAYERS = """\
    - Conv2d: {out_channels: 8, kernel_size: 3, padding: 1, name: first}
    - ReLU
    - branches: {paths: [[{Conv2d: {out_channels: 4, kernel_size: 1}}], []]}
    - residual: {layers: [{Conv2d: {out_channels: 12, kernel_size: 3, padding: 1}}]}
    - Conv2d: {out_channels: 8, kernel_size: 1}
    - Add: {inputs: [previous, first]}
    - Flatten
    - Linear: 10
"""


@pytest.fixture
def config(tmp_path):
    path = write_config(tmp_path)
    text = path.read_text()
    start, end = text.index("    - Conv2d"), text.index("optim:")
    path.write_text(text[:start] + LAYERS + text[end:])
    return require_config(path)


def test_mermaid_has_every_layer_and_what_goes_where(config):
    text = as_mermaid(traces_of(config))
    names = dict(re.findall(r'(n\d+)[\[(]+"(.*?)<br/>', text))
    edges = {(names[a], names[b]) for a, b in re.findall(r"(n\d+) --> (n\d+)", text)}
    assert {
        ("input", "first: Conv2d 8, kernel_size=3, padding=1"),
        ("first: Conv2d 8, kernel_size=3, padding=1", "ReLU"),
        ("ReLU", "Conv2d 4, kernel_size=1"),
        ("ReLU", "concat"),
        ("Conv2d 4, kernel_size=1", "concat"),
        ("concat", "Conv2d 12, kernel_size=3, padding=1"),
        ("concat", "+"),
        ("+", "Conv2d 8, kernel_size=1"),
        ("Conv2d 8, kernel_size=1", "Add"),
        ("first: Conv2d 8, kernel_size=3, padding=1", "Add"),
        ("Flatten", "Linear 10"),
    } <= edges
    assert len(edges) == 13
    assert text.count("subgraph") == text.count("  end\n") == 2


def test_svg_is_one_file_in_which_nothing_overlaps(config):
    root = ElementTree.fromstring(as_svg(traces_of(config)))
    tag = "{http://www.w3.org/2000/svg}"
    assert not root.findall(f".//{tag}image") and "http" not in "".join(root.itertext())
    boxes = [
        tuple(float(one.get(key)) for key in ("x", "y", "width", "height"))
        for one in root.iter(f"{tag}rect")
        if one.get("class") in ("box", "end")
    ]
    assert len(boxes) == 11
    width, height = float(root.get("width")), float(root.get("height"))
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in boxes)
    for i, (x, y, w, h) in enumerate(boxes):
        for other_x, other_y, other_w, other_h in boxes[:i]:
            assert x >= other_x + other_w or other_x >= x + w or y >= other_y + other_h or other_y >= y + h
    texts = [one.text for one in root.iter(f"{tag}text")]
    assert "[N, 12, 8, 8]" in texts and "branches" in texts


def test_sizes_of_layers_add_up(config):
    traces = traces_of(config)
    whole, trace = size_of(config, traces), traces["model"]
    sizes = layer_sizes(trace)
    top = [sizes[id(layer)] for layer in trace.layers]
    assert sum(one.params for one in top) == whole.params
    loss = whole.flops - sum(one.flops for one in top)
    assert 0 <= loss < 50
    inner = trace.layers[2].nested["paths"][0][0]
    assert sizes[id(inner)].flops == 2 * 8 * 4 * 64
    assert sizes[id(trace.layers[0])].kept_bytes > 0
