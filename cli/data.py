"""`torchlite data`: the datasets of the catalogue, listed, fetched, looked at and verified."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from torchlite.cli import options

app = typer.Typer(help="Datasets: ls, fetch, inspect, verify.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="DATASET", help="A name that `data ls` lists.", show_default=False)]
Root = Annotated[Path | None, typer.Option("--root", help="Another folder to look in first.", show_default=False)]


@app.command("ls")
def ls(json: options.Json = False) -> None:
    """Every dataset: samples, shape, classes, and whether its files are here."""
    from torchlite.datasets import card, names
    from torchlite.train.data_report import is_here

    cards = [card(name) for name in names()]
    if json:
        import json as json_module

        rows = [
            {"name": one.name, "title": one.title, "splits": one.splits, "shape": one.input.shape, "classes": one.classes,
             "licence": one.licence, "here": is_here(one)}
            for one in cards
        ]  # fmt: skip
        print(json_module.dumps(rows, indent=2))
        return
    table = [["dataset", "samples", "shape", "classes", "here", "title"]]
    for one in cards:
        counts = " + ".join(f"{count:,} {split}" for split, count in one.splits.items())
        shape = " × ".join(map(str, one.input.shape))
        table.append([one.name, counts, shape, str(one.num_classes), "yes" if is_here(one) else "no", one.title])
    print(options.table(table, left=(0, 1, 2, 5)))


@app.command("fetch")
def fetch(name: Name, root: Root = None) -> None:
    """Download what is missing of a dataset, and verify it against the card's checksums."""
    import sys

    from torchlite.cli.display import bytes_text
    from torchlite.datasets import card, load

    def progress(file: str, done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{name} {file}  {bytes_text(done)} of {bytes_text(total)}", end="", file=sys.stderr)

    for split in card(name).splits:
        arrays = load(name, split, root=root, progress=progress)
        print(f"{name} {split}  {len(arrays.targets):,} samples  ok")


@app.command("verify")
def verify(
    name: Name,
    root: Root = None,
    sha256: Annotated[
        bool, typer.Option("--sha256", help="Also the SHA-256 of each file, as `sha256sum` has it.")
    ] = False,
) -> None:
    """Compare the files of a dataset with the card's checksums; downloads nothing."""
    from torchlite.datasets import card, load

    for split in card(name).splits:
        arrays = load(name, split, root=root, download=False)
        print(f"{name} {split}  {len(arrays.targets):,} samples  checksums ok")
    for file in card(name).files if sha256 else ():
        if file.sha256 is not None:
            print(f"{file.sha256}  {file.name}")


@app.command("inspect")
def inspect(
    target: Annotated[str, typer.Argument(metavar="DATASET|CONFIG", help="A dataset, or a configuration's data.")],
    overrides: options.Overrides = None,
    split: Annotated[str, typer.Option("--split", help="train, val or test.")] = "train",
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.")] = False,
    json: options.Json = False,
) -> None:
    """What a split holds: counts, classes, range and distribution of the numbers, fingerprint."""
    import json as json_module

    from torchlite.train.data_report import inspect_config, inspect_dataset

    if Path(target).is_file():
        from torchlite.train.config.load import require_config

        changes = [*(overrides or []), *(["data.download=false"] if offline else [])]
        report = inspect_config(require_config(target, changes), split)
    else:
        report = inspect_dataset(target, split, download=not offline)
    if json:
        print(json_module.dumps(report, indent=2))
        return
    print(f"{report['name']} {report['split']}  {report['samples']:,} samples of {report['shape']} {report['dtype']}")
    print(f"range  {report['min']:g} to {report['max']:g}  mean {report['mean']:.4g}  std {report['std']:.4g}")
    _bars("values", {f"{low:.4g} ..": count for low, count in report["histogram"]})
    if report["classes"]:
        _bars("classes", report["classes"])
    print(f"sha256 {report['fingerprint']}")


def _bars(title: str, counts: dict[str, int]) -> None:
    total, most = sum(counts.values()) or 1, max(counts.values()) or 1
    width = max(map(len, counts))
    print(title)
    for name, count in counts.items():
        print(
            f"  {name.ljust(width)}  {count:>9,}  {100 * count / total:5.1f} %  {'█' * round(30 * count / most)}".rstrip()
        )
