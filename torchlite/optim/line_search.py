"""How far to go in a direction: a line search for the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from torchlite._tensor import Tensor


class Point(NamedTuple):
    """A place on the line.

    Attributes:
        t: how far along the direction.
        loss: there.
        grad: all gradients there, in one vector.
        slope: the derivative of the loss along the direction.
    """

    t: float
    loss: float
    grad: Tensor
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], Point],
    start: Point,
    t: float,
    length: float,
    *,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance_change: float = 1e-9,
    max_ls: int = 25,
) -> tuple[Point, int]:
    """A point with f(t) ≤ f(0) + c₁ t f'(0) and |f'(t)| ≤ c₂ |f'(0)|, or the best one found, and the evaluations it took.

    First steps grow until they have such a point or an interval with one inside; then the interval shrinks around it
    (Nocedal & Wright, 2006, algorithms 3.5 and 3.6). Trials are minima of the cubic through two points.

    Args:
        evaluate: gives the point at a distance.
        start: the point at distance 0.
        t: the first distance to try.
        length: the largest change of a number for a distance of 1.
        c1, c2: as above.
        tolerance_change: the search ends when an interval changes no number by more than this.
        max_ls: the most evaluations after the first.
    """

    def too_high(point: Point) -> bool:
        return point.loss > start.loss + c1 * point.t * start.slope

    def flat(point: Point) -> bool:
        return abs(point.slope) <= -c2 * start.slope

    previous, now = start, evaluate(t)
    count = 1
    while count <= max_ls:
        if too_high(now) or (count > 2 and now.loss >= previous.loss):
            break
        if flat(now):
            return now, count
        if now.slope >= 0:
            break
        t = cubic_minimum(previous, now, now.t + 0.01 * (now.t - previous.t), now.t * 10)
        previous, now = now, evaluate(t)
        count += 1
    else:
        previous = start

    ends = [previous, now]
    low = int(now.loss < previous.loss)
    stalled = False
    while count <= max_ls:
        left, right = sorted(end.t for end in ends)
        if (right - left) * length < tolerance_change:
            break
        t = cubic_minimum(ends[0], ends[1], left, right)
        t, stalled = _away_from_ends(t, left, right, stalled)
        now = evaluate(t)
        count += 1
        if too_high(now) or now.loss >= ends[low].loss:
            ends[1 - low] = now
            low = int(ends[1].loss < ends[0].loss)
            continue
        if flat(now):
            return now, count
        if now.slope * (ends[1 - low].t - ends[low].t) >= 0:
            ends[1 - low] = ends[low]
        ends[low] = now
    return ends[low], count


def _away_from_ends(t: float, left: float, right: float, stalled: bool) -> tuple[float, bool]:
    """A trial that can make progress, and whether it is too close to an end, which is allowed once."""
    margin = 0.1 * (right - left)
    if min(right - t, t - left) >= margin:
        return t, False
    if not stalled and left < t < right:
        return t, True
    return (right - margin if right - t < t - left else left + margin), False


def cubic_minimum(a: Point, b: Point, lowest: float, highest: float) -> float:
    """Where the cubic with the losses and slopes of two points is least, between two limits; their middle where nowhere."""
    middle = (lowest + highest) / 2
    if a.t == b.t:
        return middle
    first, second = (a, b) if a.t < b.t else (b, a)
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    d2 = math.sqrt(square) if square >= 0 else math.nan
    span = second.slope - first.slope + 2 * d2
    if math.isnan(span) or span == 0:
        return middle
    minimum = second.t - (second.t - first.t) * (second.slope + d2 - d1) / span
    return min(max(minimum, lowest), highest)
