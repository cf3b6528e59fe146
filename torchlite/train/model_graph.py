"""A model as a picture: its layers with what goes from one to the next, as SVG or as Mermaid's text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from torchlite.train.config.components import INPUT, PREVIOUS, Component
from torchlite.train.model import Trace, TracedLayer, shape_text

_ROW, _GAP, _PAD, _TITLE = 34, 22, 14, 24
_LONGEST = 44
_LETTER = 7.2
"""The width of a character of the picture's font, which is monospaced."""

_STYLE = """
svg { color-scheme: light dark; background: #fff; }
text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1a1a1a; }
.weak { fill: #667; }
.box { fill: #eef3fd; stroke: #2f6fdd; }
.end { fill: #f4f4f4; stroke: #999; }
.around { fill: none; stroke: #b9c2d0; stroke-dasharray: 4 3; }
.wire { fill: none; stroke: #556; }
.tip { fill: #556; }
@media (prefers-color-scheme: dark) {
  svg { background: #151515; }
  text { fill: #e6e6e6; }
  .weak { fill: #9aa; }
  .box { fill: #1b2740; stroke: #7aa7f7; }
  .end { fill: #222; stroke: #777; }
  .around { stroke: #445; }
  .wire { stroke: #aab; }
  .tip { fill: #aab; }
}
"""


@dataclass
class Block:
    """A part of the picture: a layer, or lists of layers beside each other.

    Attributes:
        title: of a layer with its arguments.
        shape: of what it gives.
        paths: the lists inside it, each with its name; empty for a layer.
        joins: how what the lists give is put together; "" where there is one.
        passes: whether the value before it is also one of those.
        named: names of other values that it takes.
        follows: whether it takes the value before it.
        label: its own name, under which later layers take its value.
    """

    title: str
    shape: str
    paths: list[tuple[str, list[Block]]] = field(default_factory=list)
    joins: str = ""
    passes: bool = False
    named: tuple[str, ...] = ()
    follows: bool = True
    label: str = ""


def blocks(layers: Sequence[TracedLayer]) -> list[Block]:
    """The parts of a list of layers."""
    return [_block(layer) for layer in layers]


def _block(layer: TracedLayer) -> Block:
    component = layer.component
    named = tuple(name for name in component.inputs if name != PREVIOUS)
    title = _title(component)
    follows = not named or PREVIOUS in component.inputs
    block = Block(title, shape_text(layer.output), named=named, follows=follows, label=component.label or "")
    paths = [(argument, blocks(inner)) for argument, inner in layer.parts()]
    if component.name == "residual":
        block.joins, block.passes = "+", len(paths) < 2
    elif component.name == "branches":
        join = str(component.arguments.get("join", "concat"))
        block.joins = {"add": "+", "multiply": "×"}.get(join, join)
        block.passes = any(not path for path in component.arguments.get("paths", ()))
    block.paths = paths
    return block


def _title(component: Component) -> str:
    given = [
        _written(name if i else "", value)
        for i, (name, value) in enumerate(component.arguments.items())
        if _is_plain(value)
    ]
    label = f"{component.label}: " if component.label else ""
    text = f"{label}{component.name}" + (f" {', '.join(given)}" if given and not component.layers else "")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _is_plain(value: Any) -> bool:
    return not isinstance(value, Component) and not (
        isinstance(value, tuple) and any(isinstance(part, (Component, tuple)) for part in value)
    )


def _written(name: str, value: Any) -> str:
    text = "×".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return f"{name}={text}" if name else text


# Mermaid


def as_mermaid(traces: Mapping[str, Trace]) -> str:
    """The models as a flowchart of Mermaid, which many pages show as a picture."""
    lines = ["flowchart TD"]
    writer = _Mermaid(lines)
    for name, trace in traces.items():
        writer.model(name if len(traces) > 1 else "", trace)
    return "\n".join(lines) + "\n"


class _Mermaid:
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.count = 0

    def model(self, name: str, trace: Trace) -> None:
        """One model."""
        start = self.node(f"input{f' of {name}' if name else ''}", shape_text(trace.input), "([", "])")
        self.chain(blocks(trace.layers), start, {INPUT: start}, "  ")

    def node(self, title: str, shape: str, left: str = "[", right: str = "]", indent: str = "  ") -> str:
        """A node; its name."""
        name = f"n{self.count}"
        self.count += 1
        text = title.replace('"', "#quot;") + (f"<br/>{shape}" if shape else "")
        self.lines.append(f'{indent}{name}{left}"{text}"{right}')
        return name

    def chain(self, inner: Sequence[Block], before: str, named: Mapping[str, str], indent: str) -> str:
        """Layers one after the other; the node that the last one is."""
        known = dict(named)
        for block in inner:
            before = self.block(block, before, known, indent)
            if block.label:
                known[block.label] = before
        return before

    def block(self, block: Block, before: str, named: Mapping[str, str], indent: str) -> str:
        """A layer, or lists of layers."""
        if not block.paths:
            node = self.node(block.title, block.shape, indent=indent)
            sources = [before] * block.follows + [named.get(name.partition(".")[0]) for name in block.named]
            self.lines += [f"{indent}{source} --> {node}" for source in dict.fromkeys(sources) if source is not None]
            return node
        self.lines.append(f'{indent}subgraph s{self.count}["{block.title}"]')
        self.count += 1
        ends = [self.chain(inner, before, named, indent + "  ") for _, inner in block.paths]
        if not block.joins:
            self.lines.append(f"{indent}end")
            return ends[-1]
        joined = self.node(block.joins, block.shape, "((", "))", indent + "  ")
        self.lines.append(f"{indent}end")
        self.lines += [f"{indent}{end} --> {joined}" for end in ends]
        if block.passes:
            self.lines.append(f"{indent}{before} --> {joined}")
        return joined


# SVG


def as_svg(traces: Mapping[str, Trace]) -> str:
    """The models as a picture that needs no other file; it follows the reader's choice of light or dark."""
    drawn: list[str] = []
    x, height = float(_PAD), 0.0
    for name, trace in traces.items():
        column = [
            Block(f"input of {name}" if len(traces) > 1 else "input", shape_text(trace.input)),
            *blocks(trace.layers),
        ]
        picture = _Picture(drawn)
        width = _width(column)
        bottom = picture.stack(column, x, _PAD, width, {})
        x, height = x + width + 2 * _PAD, max(height, bottom)
    size = f'width="{x:.0f}" height="{height + _PAD:.0f}" viewBox="0 0 {x:.0f} {height + _PAD:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="layers of the model">'
        f"<style>{_STYLE}</style>{''.join(drawn)}</svg>\n"
    )


def _text_width(text: str) -> float:
    return len(text) * _LETTER


def _width(column: Sequence[Block]) -> float:
    return max((_block_width(block) for block in column), default=0.0)


def _block_width(block: Block) -> float:
    own = _text_width(block.title) + _text_width(block.shape) + 4 * _PAD
    if not block.paths:
        return max(own, 180.0)
    beside = sum(_width(inner) + _PAD for _, inner in block.paths) + _PAD + (6 * _PAD if block.passes else 0)
    return max(own, beside + _PAD)


class _Picture:
    """Draws blocks below each other."""

    def __init__(self, drawn: list[str]) -> None:
        self.drawn = drawn

    def stack(self, column: Sequence[Block], x: float, y: float, width: float, named: Mapping[str, Any]) -> float:
        """A list of layers with wires between them; where it ends."""
        places = dict(named)
        middle = x + width / 2
        narrow = max((_block_width(block) for block in column if not block.paths), default=width)
        for i, block in enumerate(column):
            if i and (block.follows or block.paths):
                self.wire([(middle, y - _GAP), (middle, y)])
            wide = width if block.paths else min(narrow, width)
            left = middle - wide / 2
            bottom = self.block(block, left, y, wide, places, first=i == 0)
            for name in block.named:
                source = places.get(name.partition(".")[0])
                if source is not None:
                    self.beside(source, (left + wide, y + _ROW / 2), x + width + _PAD / 2)
            if block.label:
                places[block.label] = (left + wide, bottom - _ROW / 2)
            y = bottom + _GAP
        return y - _GAP

    def block(
        self, block: Block, x: float, y: float, width: float, places: Mapping[str, Any], *, first: bool = False
    ) -> float:
        """One block; where it ends."""
        if not block.paths:
            kind = "end" if first and block.title.startswith("input") else "box"
            self.drawn.append(
                f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_ROW}" rx="5"/>'
            )
            self.text(x + _PAD, y + 21, block.title)
            self.text(x + width - _PAD, y + 21, block.shape, weak=True, end=True)
            return y + _ROW
        inner_top = y + _TITLE + _GAP / 2
        widths = [_width(inner) for _, inner in block.paths]
        free = width - sum(widths) - _PAD * (len(widths) + 1) - (6 * _PAD if block.passes else 0)
        left = x + _PAD + max(free, 0) / 2 + (3 * _PAD if block.passes else 0)
        middle, ends = x + width / 2, []
        for (_, inner), own in zip(block.paths, widths, strict=True):
            self.wire(
                [(middle, y), (middle, inner_top - 6), (left + own / 2, inner_top - 6), (left + own / 2, inner_top)]
            )
            ends.append((left + own / 2, self.stack(inner, left, inner_top, own, places)))
            left += own + _PAD
        lowest = max(end for _, end in ends)
        if not block.joins:
            self.around(block, x, y, width, lowest + _PAD)
            self.wire([ends[0], (middle, lowest + _PAD)], tip=False)
            return lowest + _PAD
        join = lowest + _GAP + 10
        for end_x, end_y in ends:
            self.wire([(end_x, end_y), (end_x, join - 20), (middle, join - 20), (middle, join - 10)])
        if block.passes:
            side = x + width - 2 * _PAD
            self.wire(
                [
                    (middle, y),
                    (middle, inner_top - 6),
                    (side, inner_top - 6),
                    (side, join),
                    (middle + self.join_width(block), join),
                ]
            )
        self.drawn.append(
            f'<rect class="box" x="{middle - self.join_width(block):.1f}" y="{join - 10:.1f}" '
            f'width="{2 * self.join_width(block):.1f}" height="20" rx="10"/>'
        )
        self.drawn.append(
            f'<text x="{middle:.1f}" y="{join + 4:.1f}" text-anchor="middle">{escape(block.joins)}</text>'
        )
        self.around(block, x, y, width, join + 10 + _PAD)
        self.wire([(middle, join + 10), (middle, join + 10 + _PAD)], tip=False)
        return join + 10 + _PAD

    def join_width(self, block: Block) -> float:
        """Half the width of the sign that joins paths."""
        return max(10.0, _text_width(block.joins) / 2 + 6)

    def around(self, block: Block, x: float, y: float, width: float, bottom: float) -> None:
        """The frame of a block with others inside it."""
        self.drawn.append(
            f'<rect class="around" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{bottom - y:.1f}" rx="8"/>'
        )
        self.text(x + _PAD, y + 16, block.title, weak=True)
        self.text(x + width - _PAD, y + 16, block.shape, weak=True, end=True)

    def text(self, x: float, y: float, text: str, *, weak: bool = False, end: bool = False) -> None:
        """A line of text."""
        extra = (' class="weak"' if weak else "") + (' text-anchor="end"' if end else "")
        self.drawn.append(f'<text x="{x:.1f}" y="{y:.1f}"{extra}>{escape(text)}</text>')

    def wire(self, points: Sequence[tuple[float, float]], *, tip: bool = True) -> None:
        """A line through points, with an arrow at its end."""
        path = " L".join(f"{x:.1f},{y:.1f}" for x, y in _without_repeats(points))
        self.drawn.append(f'<path class="wire" d="M{path}"/>')
        if tip:
            (before_x, _), (x, y) = points[-2], points[-1]
            if before_x > x:  # it comes from the right
                self.drawn.append(f'<path class="tip" d="M{x:.1f},{y:.1f} l7,-4 v8 z"/>')
            else:
                self.drawn.append(f'<path class="tip" d="M{x:.1f},{y:.1f} l-4,-7 h8 z"/>')

    def beside(self, source: tuple[float, float], target: tuple[float, float], far: float) -> None:
        """A wire from a named value to where it is taken, which goes down at ``far``."""
        far = max(source[0] + _PAD / 2, far)
        self.wire([source, (far, source[1]), (far, target[1]), target])


def _without_repeats(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    last = None
    for point in points:
        if point != last:
            yield point
        last = point
