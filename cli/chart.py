"""Curves drawn with characters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

_MARKS = "●○▲△■□◆◇"
Curve = Sequence[tuple[float, float]]


def chart(curves: Mapping[str, Curve], width: int, height: int) -> str:
    """Curves of points (x, y) in ``height`` lines of at most ``width`` characters, each with its own mark.

    Points that fall into one column are averaged; those that are not finite are left out.

    >>> print(chart({"a": [(0, 0.0), (1, 1.0), (2, 4.0)]}, 20, 3))
         4 │           ●
         2 │
         0 │●    ●
           └────────────
            0          2
    """
    points = {name: [(x, y) for x, y in curve if math.isfinite(y)] for name, curve in curves.items()}
    every = [point for curve in points.values() for point in curve]
    if not every:
        return "nothing to draw"
    left, right = min(x for x, _ in every), max(x for x, _ in every)
    low, high = min(y for _, y in every), max(y for _, y in every)
    labels = [f"{high - (high - low) * line / (height - 1):.4g}" for line in range(height)]
    margin = max(6, *map(len, labels))
    columns = max(8, width - margin - 2)
    grid = [[" "] * columns for _ in range(height)]
    for mark, curve in zip(_MARKS * (len(points) // len(_MARKS) + 1), points.values(), strict=False):
        binned: dict[int, list[float]] = {}
        for x, y in curve:
            binned.setdefault(_place(x, left, right, columns), []).append(y)
        for column, values in binned.items():
            mean = sum(values) / len(values)
            grid[height - 1 - _place(mean, low, high, height)][column] = mark
    lines = [f"{label.rjust(margin)} │{''.join(row)}".rstrip() for label, row in zip(labels, grid, strict=True)]
    lines.append(f"{' ' * margin} └{'─' * columns}")
    ends = f"{left:g}", f"{right:g}"
    lines.append(f"{' ' * (margin + 2)}{ends[0]}{ends[1].rjust(columns - len(ends[0]))}")
    if len(points) > 1:
        lines += [f"{mark} {name}" for mark, name in zip(_MARKS, points, strict=False)]
    return "\n".join(lines)


def _place(value: float, low: float, high: float, count: int) -> int:
    return round((value - low) / (high - low) * (count - 1)) if high > low else 0
