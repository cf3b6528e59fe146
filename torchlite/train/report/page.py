"""The page around the charts: its style, and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --back: #fff; --card: #f6f7f9; --text: #1b1f24; --weak: #5b6470; --line: #d9dee4;
  --s0: #2563c9; --s1: #c2410c; --s2: #15803d; --s3: #9333c7; --s4: #b45309; --s5: #0e7490; --wrong: #c2410c; --on: #fff }
@media (prefers-color-scheme: dark) { :root { --back: #14171b; --card: #1d2126; --text: #e6e9ed; --weak: #9aa4b0;
  --line: #343b44; --s0: #6ea8fe; --s1: #fb923c; --s2: #4ade80; --s3: #d8b4fe; --s4: #fbbf24; --s5: #67e8f9;
  --wrong: #fb923c; --on: #14171b } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1080px; padding: 24px 16px 64px; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.7rem; margin: 0; overflow-wrap: anywhere } h2 { font-size: 1.2rem; margin: 36px 0 12px }
.weak, .legend { color: var(--weak) } code, pre { font: 13px/1.45 ui-monospace, monospace }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 10px; margin: 18px 0 }
.facts div, figure { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px }
.facts b { display: block; font-size: 1.25rem; overflow-wrap: anywhere } .facts span { color: var(--weak); font-size: 13px }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 310px), 1fr)); gap: 14px }
.charts.many { grid-template-columns: repeat(auto-fill, minmax(min(100%, 225px), 1fr)) }
figure { margin: 0; min-width: 0 } figure.wide { overflow-x: auto } figcaption { font-weight: 600; overflow-wrap: anywhere }
svg { max-width: 100%; height: auto; display: block; margin-top: 6px } .wide svg { max-width: none }
.curve svg { width: 100% } figure.matrix { width: fit-content; max-width: 100% } .dashed { stroke-dasharray: 5 3 }
svg text { fill: var(--weak); font: 12px system-ui, sans-serif } svg text.on { fill: var(--on) } svg text.count { fill: var(--text) }
.grid { stroke: var(--line) } polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round }
.legend { margin: 4px 0 0; font-size: 13px } .key { margin-right: 14px; white-space: nowrap }
.key::before { content: ""; display: inline-block; width: 12px; height: 3px; margin-right: 5px; vertical-align: middle;
  background: var(--c) }
.s0 { --c: var(--s0) } .s1 { --c: var(--s1) } .s2 { --c: var(--s2) } .s3 { --c: var(--s3) } .s4 { --c: var(--s4) }
.s5 { --c: var(--s5) } polyline { stroke: var(--c) } .dot, .bar { fill: var(--c) }
.right { fill: var(--s0) } .wrong { fill: var(--wrong) }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 10px }
.sample { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px; font-size: 13px }
.sample img, .made { width: 100%; image-rendering: pixelated; border-radius: 4px; display: block }
.made { max-width: 520px } .sample.miss { border-color: var(--wrong) } .sample b { overflow-wrap: anywhere }
.scroll { overflow-x: auto } table { border-collapse: collapse } td, th { padding: 3px 14px 3px 0; text-align: left;
  border-bottom: 1px solid var(--line) } td.number { text-align: right; font-variant-numeric: tabular-nums }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px; overflow-x: auto }
summary { cursor: pointer; font-weight: 600; margin: 10px 0 }
@media print { details { display: block } body { max-width: none } }
"""


def page(title: str, under: str, parts: Sequence[str]) -> str:
    """A whole document; ``parts`` are HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="weak">{escape(under)}</p>\n'
        + "\n".join(filter(None, parts))
        + "\n</body>\n</html>\n"
    )


def section(title: str, content: str) -> str:
    """A heading and what stands under it; nothing where there is nothing."""
    return f"<h2>{escape(title)}</h2>\n{content}" if content else ""


def facts(values: Mapping[str, str]) -> str:
    """Short values, each with its name."""
    boxes = (f"<div><span>{escape(name)}</span><b>{escape(value)}</b></div>" for name, value in values.items())
    return f'<div class="facts">{"".join(boxes)}</div>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, whose columns behind the first are numbers."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>"
        + "".join(f"<td{' class=number' if i else ''}>{escape(cell)}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def folded(title: str, content: str) -> str:
    """What is opened with a click."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"
