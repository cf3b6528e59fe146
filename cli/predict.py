"""`torchlite predict`: what a trained model says of new inputs, or writes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchlite.cli import options

if TYPE_CHECKING:
    from torchlite.train.trained import Trained


class Format(StrEnum):
    """How predictions are written."""

    csv = "csv"
    jsonl = "jsonl"
    npz = "npz"


def command(
    run: options.Trained,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT]...",
            help="CSV of a table, .npy or .npz, JSON lines, images or .wav or a folder of them, - for standard input, "
            "or a split: train, val, test. Of a model of text, a file or - with a prompt in each line.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="csv (where unset), jsonl, or npz (to a file); text is written as it is.",
            show_default=False,
        ),
    ] = None,
    topk: Annotated[int, typer.Option("--topk", min=1, help="So many of the most probable classes.")] = 1,
    proba: Annotated[bool, typer.Option("--proba", help="Also the probability of every class.")] = False,
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", metavar="TEXT", help="Text: write on after this.", show_default=False),
    ] = None,
    tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="Text: write so many tokens for each prompt.")
    ] = 200,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, help="Text: how daring; 0 takes the most probable token.")
    ] = 1.0,
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", min=1, help="Text: draw from so many of the most probable.", show_default=False),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option("--top-p", help="Text: draw from the most probable of this total.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Text: of the draws; the run's where unset.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write to this file.", dir_okay=False, show_default=False),
    ] = None,
    checkpoint: options.Checkpoint = "best",
    device: options.Device = None,
    allow_code: options.AllowCode = False,
) -> None:
    """Predict new inputs: one record a line, in their order; or write text on, as it comes.

    A model of text writes after --prompt, or after each line of the inputs: one line or record for each then.
    """
    from torchlite.errors import UsageError
    from torchlite.train.config.own_data import TextData
    from torchlite.train.generation import Sampling
    from torchlite.train.trained import load_trained

    if format is Format.npz and output is None:
        raise UsageError("--format npz needs --output FILE")
    trained = load_trained(run, checkpoint, device, allow_code=allow_code)
    if prompt is not None or isinstance(trained.config.data, TextData):
        sampling = Sampling(temperature, top_k, top_p)
        if format is Format.npz:
            raise UsageError("text is written as it is, as csv or as jsonl")
        _write_text(trained, prompt, inputs, tokens, sampling, seed, format, output)
        return
    if not inputs:
        raise UsageError("name what is to be predicted: files, a folder, a split, or - for standard input")
    predicted = _predicted(trained, inputs, topk)
    if format is Format.npz:
        assert output is not None
        _write_npz(output, predicted)
        return
    _put(_json_lines(predicted, proba) if format is Format.jsonl else _csv(predicted, proba), output)


def _predicted(trained: Trained, inputs: list[str], topk: int) -> Iterator[tuple[Any, dict[str, Any]]]:
    from torchlite.train.inputs import read_inputs
    from torchlite.train.prediction import outputs, records

    count = 0
    for source in inputs:
        given = read_inputs(trained, source, sys.stdin)
        files = iter(given.files)
        for batch in outputs(trained, given.samples):
            found = records(trained, batch, count, topk)
            count += len(found)
            if given.files:
                found = [{"file": next(files), **record} for record in found]
            yield from zip(batch, found, strict=True)


def _put(lines: Iterator[str], output: Path | None) -> None:
    if output is None:
        for line in lines:
            print(line)
        return
    options.write_text(output, "".join(f"{line}\n" for line in lines))


def _write_text(
    trained: Trained,
    prompt: str | None,
    inputs: list[str] | None,
    tokens: int,
    sampling: Any,
    seed: int | None,
    format: Format | None,
    output: Path | None,
) -> None:
    """The text behind a prompt, as it comes where nothing else is asked for; behind several one line each."""
    import numpy as np

    from torchlite.train.prediction import write_on

    rng = np.random.default_rng(trained.config.seed if seed is None else seed)
    if format is None and output is None and not inputs:
        pieces = write_on(trained, prompt or "", tokens, sampling, rng)
        sys.stdout.write(prompt or "")
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
        print()
        return
    prompts = [prompt] if prompt is not None else []
    prompts += [line for source in inputs or () for line in _prompts(source)]
    written = ((one, "".join(write_on(trained, one, tokens, sampling, rng))) for one in prompts or [""])
    if format is None:
        _put((f"{one}{text}".replace("\n", " ") if inputs else f"{one}{text}" for one, text in written), output)
        return
    numbered = ((None, {"index": i, "prompt": one, "text": text}) for i, (one, text) in enumerate(written))
    _put(_json_lines(numbered, True) if format is Format.jsonl else _csv(numbered, True), output)


def _prompts(source: str) -> Iterator[str]:
    """The lines of a file or of standard input, each as soon as it is there."""
    from torchlite.errors import UsageError
    from torchlite.train.inputs import STDIN, read_lines

    if source == STDIN:
        for line in sys.stdin:
            yield line.rstrip("\n")
        return
    if not Path(source).is_file():
        raise UsageError(f"there is no file '{source}' with a prompt in each line; --prompt takes one")
    yield from read_lines(Path(source)).splitlines()


def _json_lines(predicted: Iterator[tuple[Any, dict[str, Any]]], proba: bool) -> Iterator[str]:
    import json

    for _, record in predicted:
        if not proba:
            record.pop("probabilities", None)
        yield json.dumps(record, ensure_ascii=False)


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
