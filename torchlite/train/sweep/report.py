"""The report of a sweep: one file that needs no network, with the importance of each key drawn as SVG."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --line: #ddd; --bar: #2f6fdd; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #151515; --line: #3a3a3a; --bar: #7aa7f7; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 70rem; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
svg { max-width: 100%; height: auto; }
svg text { fill: var(--ink); font: 13px system-ui, sans-serif; }
svg rect { fill: var(--bar); }
"""
_ROW, _LABEL, _BAR = 26, 220, 320


def as_html(summary: Mapping[str, Any]) -> str:
    """The page of what `torchlite.train.sweep.sweep.summary` says."""
    name, monitor = html.escape(summary["name"]), html.escape(summary["monitor"])
    trials = summary["trials"]
    best = "highest" if summary["mode"] == "max" else "lowest"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Sweep of {name}</title><style>{_STYLE}</style>"
        f"<h1>Sweep of {name}</h1><p>{len(trials)} trials, compared by the {best} {monitor}.</p>"
        f"<h2>Importance</h2><p>Share of the differences in {monitor} that each key explains alone.</p>"
        f"{importance_plot(summary['importance'])}<h2>Leaderboard</h2>{_table(summary)}</html>\n"
    )


def importance_plot(importance: Mapping[str, float]) -> str:
    """A bar for each key, the longest first, as SVG."""
    ranked = sorted(importance.items(), key=lambda item: -item[1])
    width, height = _LABEL + _BAR + 60, _ROW * max(len(ranked), 1)
    rows = []
    for index, (key, share) in enumerate(ranked):
        y = index * _ROW
        rows.append(
            f'<text x="{_LABEL - 10}" y="{y + 17}" text-anchor="end">{html.escape(key)}</text>'
            f'<rect x="{_LABEL}" y="{y + 5}" width="{_BAR * share:.1f}" height="{_ROW - 10}" rx="2"/>'
            f'<text x="{_LABEL + _BAR * share + 8:.1f}" y="{y + 17}">{100 * share:.0f} %</text>'
        )
    label = "Importance of each key: " + ", ".join(f"{key} {100 * share:.0f} %" for key, share in ranked)
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{html.escape(label)}">'
        f"{''.join(rows)}</svg>"
    )


def _table(summary: Mapping[str, Any]) -> str:
    trials = summary["trials"]
    keys = list(trials[0]["values"]) if trials else []
    head = "".join(f"<th>{html.escape(text)}</th>" for text in ("", "trial", summary["monitor"], "step", *keys))
    rows = []
    for place, one in enumerate(trials, 1):
        cells = [str(place), one["id"], said(one), str(one["step"]), *(json.dumps(one["values"][key]) for key in keys)]
        rows.append(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>")
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def said(trial: Mapping[str, Any]) -> str:
    """The value of a trial as text, or why there is none."""
    if trial["exit_code"]:
        return f"failed ({trial['exit_code']})"
    return "-" if trial["value"] is None else f"{trial['value']:.6g}"
