"""`torchlite summary`: the layers of a model with shapes and sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from torchlite.cli import options

if TYPE_CHECKING:
    from torchlite.train.model import TracedLayer


def command(
    target: Annotated[str, typer.Argument(metavar="CONFIG|RUN", help="A configuration or a run.", show_default=False)],
    overrides: options.Overrides = None,
    allow_code: options.AllowCode = False,
) -> None:
    """The layers of a model: output shapes, parameters, operations and memory. Reads no data."""
    from torchlite.cli.display import bytes_text
    from torchlite.errors import ConfigError
    from torchlite.train.check import check_shapes, size_of, traces_of
    from torchlite.train.model import shape_text

    changes = overrides or []
    config = options.read_config(target, changes, allow_code=allow_code)
    _, problems = check_shapes(config)
    if problems:
        raise ConfigError("\n".join(f"{config.path}: {problem.message}" for problem in problems))
    traces = traces_of(config)
    size = size_of(config, traces)
    rows: list[tuple[str, str, str]] = []
    for name, trace in traces.items():
        rows.append((f"input of {name}" if config.models else "input", shape_text(trace.input), ""))
        rows += [row for layer in trace.layers for row in _rows(layer, "")]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for name, shape, params in rows:
        print(f"{name.ljust(widths[0])}  {shape.ljust(widths[1])}  {params.rjust(widths[2])}".rstrip())
    print(
        f"{size.params:,} params ({bytes_text(4 * size.params)} as float32)  {size.flops:,} operations a sample  "
        f"peak ≈ {bytes_text(size.peak_bytes)} at batch {config.data.batch_size}"
    )


def _rows(layer: TracedLayer, indent: str) -> list[tuple[str, str, str]]:
    from torchlite.train.model import shape_text

    own = sum(p.numel() for p in layer.module.parameters())
    label = f" ({layer.component.label})" if layer.component.label else ""
    rows = [(indent + layer.component.name + label, shape_text(layer.output), f"{own:,}" if own else "")]
    for argument, layers in layer.parts():
        inner = indent + "  "
        if argument != "layers":
            rows.append((f"{inner}{argument}:", "", ""))
            inner += "  "
        rows += [row for one in layers for row in _rows(one, inner)]
    return rows
