"""Charts as SVG text: lines, bars and matrices, whose colours the page's style decides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 340, 205
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 10, 28
_MOST_POINTS = 400


def number(value: float) -> str:
    """A number for people: four digits that count."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers between two values, at most ``most`` + 1.

    >>> ticks(0.0, 1.0), ticks(3, 47)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [10, 20, 30, 40])
    """
    span = high - low
    if not span > 0:
        return [low]
    unit = 10.0 ** math.floor(math.log10(span / most))
    step = next(unit * factor for factor in (1, 2, 5, 10) if span / (unit * factor) <= most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step)))
    return [round(i * step, digits) if digits else round(i * step) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between 10 ** low and 10 ** high; 1, 2 and 5 times them where these alone are fewer than three.

    A range that holds few of those, too, has the ticks of one that is not logarithmic.

    >>> log_ticks(-1.1, 0.4), log_ticks(-3, 3)
    ([0.1, 0.2, 0.5, 1.0, 2.0], [0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0])
    """
    exponents = range(math.floor(low) - 1, math.ceil(high) + 1)
    for factors in ((1,), (1, 2, 5)):
        every = [float(f"{factor}e{exponent}") for exponent in exponents for factor in factors]
        inside = [tick for tick in every if low - 1e-9 <= math.log10(tick) <= high + 1e-9]
        if len(inside) > 2:
            return inside
    return ticks(10.0**low, 10.0**high)


def thinned(points: Points) -> list[tuple[float, float]]:
    """At most some hundred points: of each stretch of many the mean."""
    size = -(-len(points) // _MOST_POINTS)
    if size <= 1:
        return list(points)
    array = np.array(points, np.float64)
    parts = np.array_split(array, -(-len(points) // size))
    return [(float(part[-1, 0]), float(part[:, 1].mean())) for part in parts]


def lines(title: str, series: Mapping[str, Points], x_name: str = "step", *, log: bool = False) -> str:
    """Curves over a common axis with a legend; values that are not finite are left out.

    With ``log`` the values, which must be positive, stand on a logarithmic scale.
    """
    kept = {name: [(x, y) for x, y in points if math.isfinite(y)] for name, points in series.items()}
    kept = {name: thinned(points) for name, points in kept.items() if points}
    if not kept:
        return ""
    every = [point for points in kept.values() for point in points]
    xs = (min(x for x, _ in every), max(x for x, _ in every))
    log = log and all(y > 0 for _, y in every)
    scale = math.log10 if log else float
    low, high = min(scale(y) for _, y in every), max(scale(y) for _, y in every)
    margin = (high - low) * 0.05 or abs(high) * 0.05 or 0.5
    low, high = low - margin, high + margin

    def x_of(x: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * ((x - xs[0]) / (xs[1] - xs[0]) if xs[1] > xs[0] else 0.5)

    def y_of(y: float) -> float:
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (high - scale(y)) / (high - low)

    parts = _axes(xs, log_ticks(low, high) if log else ticks(low, high), x_of, y_of)
    for place, points in enumerate(kept.values()):
        if len(points) == 1:
            ((x, y),) = points
            parts.append(f'<circle class="{_look(place)} dot" cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3"/>')
        else:
            path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
            parts.append(f'<polyline class="{_look(place)}" points="{path}"/>')
    last = ", ".join(f"{name} ends at {number(points[-1][1])}" for name, points in kept.items())
    legend = "".join(
        f'<span class="key {_look(place)}">{escape(name)} <b>{number(points[-1][1])}</b></span>'
        for place, (name, points) in enumerate(kept.items())
    )
    return _figure(title, _svg(WIDTH, HEIGHT, f"{title} by {x_name}: {last}", parts), legend, "curve")


def _look(place: int) -> str:
    """The classes of a series: six colours, then the same in dashes."""
    return f"s{place % 6}" + (" dashed" if place // 6 % 2 else "")


def _axes(xs: tuple[float, float], y_ticks: Sequence[float], x_of: Any, y_of: Any) -> list[str]:
    parts = []
    for y in y_ticks:
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y_of(y):.1f}" y2="{y_of(y):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y_of(y) + 4:.1f}" text-anchor="end">{number(float(y))}</text>')
    for x in ticks(*xs):
        place, text = x_of(x), number(x)
        anchor = "end" if place + 4 * len(text) > WIDTH else "middle"
        parts.append(f'<text x="{min(place, WIDTH):.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{text}</text>')
    return parts


def histogram(title: str, values: Array, bins: int = 32) -> str:
    """How values are distributed, as bars, with mean and standard deviation."""
    finite = values[np.isfinite(values)].astype(np.float64).ravel()
    if not finite.size:
        return ""
    width, height, bottom = 220, 110, 18
    counts, edges = np.histogram(finite, bins)
    bar = width / bins
    parts = [
        f'<rect class="s0 bar" x="{i * bar:.2f}" width="{bar * 0.9:.2f}" y="{height - bottom - h:.1f}" height="{h:.1f}"/>'
        for i, n in enumerate(counts)
        if (h := (height - bottom) * n / counts.max()) > 0
    ]
    parts.append(f'<text x="0" y="{height - 4}">{number(float(edges[0]))}</text>')
    parts.append(f'<text x="{width}" y="{height - 4}" text-anchor="end">{number(float(edges[-1]))}</text>')
    facts = f"mean {number(float(finite.mean()))} · std {number(float(finite.std()))} · {finite.size:,} values"
    return _figure(title, _svg(width, height, f"{title}: {facts}", parts), f"<span>{facts}</span>", "small")


def matrix(title: str, counts: Array, names: Sequence[str]) -> str:
    """A confusion matrix: rows are targets, columns predictions; the darker, the larger the share of the row."""
    size = len(counts)
    cell, left, top = max(18.0, min(44.0, 400 / size)), 8.0 + 7 * min(14, max(map(len, names))), 2.0
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    bottom = left if max(map(len, names)) > 3 else 20.0
    parts = []
    for i in range(size):
        y = top + i * cell
        parts.append(f'<text x="{left - 6:.1f}" y="{y + cell / 2 + 4:.1f}" text-anchor="end">{_short(names[i])}</text>')
        for j in range(size):
            x, share = left + j * cell, float(shares[i, j])
            kind = "right" if i == j else "wrong"
            hint = f"{names[i]} taken for {names[j]}: {counts[i, j]} ({share:.1%})"
            parts.append(
                f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{cell - 1:.1f}" height="{cell - 1:.1f}" '
                f'fill-opacity="{_opacity(share):.3f}"><title>{escape(hint)}</title></rect>'
            )
            if size <= 20 and counts[i, j]:
                tone = ' class="on"' if share > 0.5 else ' class="count"'
                where = f'x="{x + cell / 2:.1f}" y="{y + cell / 2 + 4:.1f}"'
                parts.append(f'<text{tone} {where} text-anchor="middle">{counts[i, j]}</text>')
        x, y = left + i * cell + cell / 2, top + size * cell + 14
        if bottom == left:
            turned = f'text-anchor="end" transform="rotate(-60 {x + 4:.1f} {y - 4:.1f})"'
            parts.append(f'<text x="{x + 4:.1f}" y="{y - 4:.1f}" {turned}>{_short(names[i])}</text>')
        else:
            parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{_short(names[i])}</text>')
    right = int(counts.trace())
    label = f"{title}: {right} of {int(counts.sum())} right"
    return _figure(
        title,
        _svg(left + size * cell, top + size * cell + bottom, label, parts),
        "rows: what it is · columns: what it was taken for",
        "matrix wide" if size > 12 else "matrix",
    )


def _opacity(share: float) -> float:
    """How dark a cell is: even a single mistake stands out from the cells that are empty."""
    return 0.22 + 0.78 * share if share else 0.04


def _short(name: str) -> str:
    return escape(name if len(name) <= 14 else name[:13] + "…")


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    return f'<svg {size} role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def _figure(title: str, svg: str, below: str, kind: str = "") -> str:
    return f'<figure class="{kind}"><figcaption>{escape(title)}</figcaption>{svg}<p class="legend">{below}</p></figure>'
