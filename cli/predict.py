"""`torchlite predict`: what a trained model says of new inputs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from torchlite.cli import options


class Format(StrEnum):
    """How predictions are written."""

    csv = "csv"
    jsonl = "jsonl"
    npz = "npz"


def command(
    run: options.Run,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="CSV of a table, .npy or .npz, JSON lines, - for standard input, or a split: train, val, test.",
            show_default=False,
        ),
    ],
    format: Annotated[Format, typer.Option("--format", help="csv, jsonl, or npz (to a file).")] = Format.csv,
    topk: Annotated[int, typer.Option("--topk", min=1, help="So many of the most probable classes.")] = 1,
    proba: Annotated[bool, typer.Option("--proba", help="Also the probability of every class.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write to this file.", dir_okay=False, show_default=False),
    ] = None,
    checkpoint: options.Checkpoint = "best",
    device: options.Device = None,
    allow_code: options.AllowCode = False,
) -> None:
    """Predict new inputs: one record a line, in their order."""
    from torchlite.errors import UsageError
    from torchlite.train.prediction import outputs, read_inputs, records
    from torchlite.train.trained import load_trained

    if format is Format.npz and output is None:
        raise UsageError("--format npz needs --output FILE")
    trained = load_trained(run, checkpoint, device, allow_code=allow_code)

    def predicted() -> Iterator[tuple[Any, dict[str, Any]]]:
        count = 0
        for source in inputs:
            for batch in outputs(trained, read_inputs(trained, source, sys.stdin)):
                found = records(trained, batch, count, topk)
                count += len(found)
                yield from zip(batch, found, strict=True)

    if format is Format.npz:
        assert output is not None
        _write_npz(output, predicted())
        return
    lines = _csv(predicted(), proba) if format is Format.csv else _json_lines(predicted(), proba)
    if output is None:
        for line in lines:
            print(line)
        return
    options.write_text(output, "".join(f"{line}\n" for line in lines))


def _json_lines(predicted: Iterator[tuple[Any, dict[str, Any]]], proba: bool) -> Iterator[str]:
    import json

    for _, record in predicted:
        if not proba:
            record.pop("probabilities", None)
        yield json.dumps(record)


def _csv(predicted: Iterator[tuple[Any, dict[str, Any]]], proba: bool) -> Iterator[str]:
    import csv
    import io

    header: list[str] = []
    for _, record in predicted:
        every = record.pop("probabilities", {})
        for place, (name, probability) in enumerate(record.pop("top", [])[1:], 2):
            record |= {f"prediction_{place}": name, f"probability_{place}": probability}
        if proba:
            record |= {f"p({name})": probability for name, probability in every.items()}
        rows = [list(record.values())]
        if not header:
            header = list(record)
            rows.insert(0, header)
        for row in rows:
            text = io.StringIO()
            csv.writer(text, lineterminator="").writerow(f"{x:.6g}" if isinstance(x, float) else x for x in row)
            yield text.getvalue()


def _write_npz(target: Path, predicted: Iterator[tuple[Any, dict[str, Any]]]) -> None:
    import numpy as np

    from torchlite.serialization.npz import write_npz

    raw, found = zip(*predicted, strict=True)
    arrays = {"outputs": np.stack(raw), "prediction": np.array([record["prediction"] for record in found])}
    if arrays["prediction"].dtype.kind == "U":  # text: as the place in `classes`, which any reader takes
        classes = list(found[0]["probabilities"])
        arrays["prediction"] = np.array([classes.index(record["prediction"]) for record in found])
        arrays["probabilities"] = np.array([list(record["probabilities"].values()) for record in found])
    write_npz(target, arrays)
