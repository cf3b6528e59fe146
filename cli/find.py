"""`torchlite find`: a learning rate or a batch size, by short trials."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from torchlite.cli import options

app = typer.Typer(help="Search for a learning rate or a batch size.", no_args_is_help=True, rich_markup_mode=None)

Config = Annotated[Path, typer.Argument(help="The configuration.", show_default=False)]
Write = Annotated[bool, typer.Option("--write", help="Write what was found into the configuration.")]


@app.command("lr")
def lr(
    config: Config,
    overrides: options.Overrides = None,
    low: Annotated[float, typer.Option("--from", help="The least learning rate.")] = 1e-6,
    high: Annotated[float, typer.Option("--to", help="The greatest.")] = 1.0,
    steps: Annotated[int, typer.Option("--steps", min=10, help="Steps in between.")] = 100,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the loss.")] = False,
    write: Write = False,
    json: options.Json = False,
) -> None:
    """One step at each of many learning rates, and the one where the loss falls fastest."""
    import json as json_module
    import math
    import shutil
    from dataclasses import asdict

    from torchlite.cli.chart import chart
    from torchlite.errors import UsageError
    from torchlite.train.config.load import require_config
    from torchlite.train.finding import suggested_rate, try_rates, write_value

    if not 0 < low < high:
        raise UsageError(f"expected 0 < --from < --to, got {low:g} and {high:g}")
    trials = try_rates(require_config(config, overrides or []), low, high, steps)
    if plot and not json:
        print("loss by the logarithm (base 10) of the learning rate")
        print(chart({"loss": [(math.log10(t.lr), t.loss) for t in trials]}, shutil.get_terminal_size().columns, 14))
    rate = float(f"{suggested_rate(trials):.2g}")
    if json:
        print(json_module.dumps({"lr": rate, "trials": [asdict(trial) for trial in trials]}))
    else:
        print(
            f"optim.lr={rate:g}   the loss falls fastest there ({len(trials)} steps from {low:g} to {trials[-1].lr:.2g})"
        )
    if write:
        write_value(config, "optim", "lr", f"{rate:g}")
        typer.echo(f"written to {config}", err=True)


@app.command("batch")
def batch(
    config: Config,
    overrides: options.Overrides = None,
    smallest: Annotated[int, typer.Option("--from", min=1, help="The smallest batch.")] = 8,
    largest: Annotated[int, typer.Option("--to", min=1, help="The largest.")] = 1024,
    seconds: Annotated[float, typer.Option("--seconds", min=0.01, help="How long each is tried.")] = 1.0,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the samples a second.")] = False,
    write: Write = False,
    json: options.Json = False,
) -> None:
    """Batch sizes, each twice the one before, until memory ends; the smallest that is nearly as fast as any."""
    import json as json_module
    import math
    import shutil
    from dataclasses import asdict

    from torchlite.cli.chart import chart
    from torchlite.train.finding import suggested_batch, try_batches, write_value

    sizes = [smallest << i for i in range(64) if smallest << i <= largest]
    trials = try_batches(config, overrides or [], sizes, seconds)
    size = suggested_batch(trials)
    if json:
        print(json_module.dumps({"batch_size": size, "trials": [asdict(trial) for trial in trials]}))
    else:
        rows = [["batch", "samples/s"]]
        rows += [[str(t.size), t.failed or f"{t.samples_per_second:,.0f}"] for t in trials]
        if plot:
            points = [(math.log2(t.size), t.samples_per_second) for t in trials if not t.failed]
            print("samples a second by the logarithm (base 2) of the batch size")
            print(chart({"samples/s": points}, shutil.get_terminal_size().columns, 12))
        print(options.table(rows, left=()))
        print(f"data.batch_size={size}   within 5 % of the fastest; the learning rate may have to follow")
    if write:
        write_value(config, "data", "batch_size", str(size))
        typer.echo(f"written to {config}", err=True)
