"""`torchlite summary`: the layers of a model with shapes and sizes, as a table or a picture."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchlite.cli import options

if TYPE_CHECKING:
    from torchlite.nn import Module
    from torchlite.train.layer_sizes import LayerSize
    from torchlite.train.model import TracedLayer


class Graph(StrEnum):
    """The kinds of pictures."""

    svg = "svg"
    mermaid = "mermaid"


def command(
    target: Annotated[str, typer.Argument(metavar="CONFIG|RUN", help="A configuration or a run.", show_default=False)],
    overrides: options.Overrides = None,
    depth: Annotated[
        int | None,
        typer.Option(
            "--depth",
            min=1,
            help="Levels to show: layers, those inside them, and so on, also the modules that a layer consists of. "
            "Where unset, the layers that the configuration writes.",
            show_default=False,
        ),
    ] = None,
    flops: Annotated[bool, typer.Option("--flops", help="Also the operations of each layer, for one sample.")] = False,
    memory: Annotated[
        bool,
        typer.Option("--memory", help="Also the bytes of each layer's parameters, and what backward keeps of a batch."),
    ] = False,
    graph: Annotated[
        Graph | None, typer.Option("--graph", help="A picture of the layers instead.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file.", dir_okay=False, show_default=False)
    ] = None,
    allow_code: options.AllowCode = False,
) -> None:
    """The layers of a model: output shapes, parameters, operations and memory. Reads no data."""
    from torchlite.cli.display import bytes_text
    from torchlite.errors import ConfigError
    from torchlite.train.check import check_shapes, size_of, traces_of
    from torchlite.train.layer_sizes import layer_sizes
    from torchlite.train.model import shape_text
    from torchlite.train.model_graph import as_mermaid, as_svg

    config = options.read_config(target, overrides or [], allow_code=allow_code)
    _, problems = check_shapes(config)
    if problems:
        raise ConfigError("\n".join(f"{config.path}: {problem.message}" for problem in problems))
    traces = traces_of(config)
    if graph is not None:
        text = as_svg(traces) if graph is Graph.svg else as_mermaid(traces)
        options.put(text.rstrip("\n"), output)
        return
    size = size_of(config, traces)
    columns = ["flops"] * flops + ["params memory", "kept"] * memory
    rows = [["", "output", "params", *columns]] if columns else []
    for name, trace in traces.items():
        beginning = f"input of {name}" if config.models else "input"
        rows.append([beginning, shape_text(trace.input), "", *[""] * len(columns)])
        sizes = layer_sizes(trace)
        for layer in trace.layers:
            rows += _rows(layer, "", depth, sizes, flops=flops, memory=memory)
    lines = options.table(rows, left=(0, 1)).splitlines()
    lines.append(
        f"{size.params:,} params ({bytes_text(4 * size.params)} as float32)  {size.flops:,} operations a sample  "
        f"peak ≈ {bytes_text(size.peak_bytes)} at batch {config.data.batch_size}"
    )
    options.put("\n".join(lines), output)


def _rows(
    layer: TracedLayer, indent: str, depth: int | None, sizes: Mapping[int, LayerSize], *, flops: bool, memory: bool
) -> list[list[str]]:
    from torchlite.cli.display import bytes_text
    from torchlite.train.model import shape_text

    size = sizes[id(layer)]
    label = f" ({layer.component.label})" if layer.component.label else ""
    more = [f"{size.flops:,}" if size.flops else ""] * flops
    if memory:
        own = sum(p.nbytes for p in layer.module.parameters())
        more += [bytes_text(one) if one else "" for one in (own, size.kept_bytes)]
    params = f"{size.params:,}" if size.params else ""
    rows = [[indent + layer.component.name + label, shape_text(layer.output), params, *more]]
    if depth == 1:
        return rows
    deeper = None if depth is None else depth - 1
    parts = list(layer.parts())
    for argument, layers in parts:
        inner = indent + "  "
        if argument != "layers":
            rows.append([f"{inner}{argument}:", *[""] * (len(rows[0]) - 1)])
            inner += "  "
        for one in layers:
            rows += _rows(one, inner, deeper, sizes, flops=flops, memory=memory)
    if not parts and deeper is not None:
        rows += _modules(layer.module, indent + "  ", deeper, len(rows[0]))
    return rows


def _modules(module: Module, indent: str, depth: int, columns: int) -> list[list[str]]:
    """The modules inside a layer, with their parameters."""
    rows = []
    for name, inner in module.named_children():
        params = sum(p.numel() for p in inner.parameters())
        row = [f"{indent}{name}: {type(inner).__name__}", "", f"{params:,}" if params else ""]
        rows.append(row + [""] * (columns - len(row)))
        if depth > 1:
            rows += _modules(inner, indent + "  ", depth - 1, columns)
    return rows
