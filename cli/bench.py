"""`torchlite bench`: how fast training steps are."""

from __future__ import annotations

from typing import Annotated

import typer

from torchlite.cli import options


def command(
    target: Annotated[str, typer.Argument(metavar="CONFIG|RUN", help="A configuration or a run.", show_default=False)],
    overrides: options.Overrides = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps to time.")] = 50,
    warmup: Annotated[int, typer.Option("--warmup", min=1, help="Steps before them that are not timed.")] = 5,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="CONFIG|RUN", help="Time this one, too, in turns, and compare.", show_default=False
        ),
    ] = None,
    device: options.Device = None,
    allow_code: options.AllowCode = False,
    json: options.Json = False,
) -> None:
    """How fast training steps are: time, samples a second, waiting for data, memory. Writes nothing."""
    import json as json_module
    from dataclasses import asdict

    from torchlite.cli.display import bytes_text
    from torchlite.train.profiling import measure_speed

    changes = options.run_options(overrides, device=device)
    names = [target] if against is None else [target, against]
    configs = [options.read_config(name, changes, allow_code=allow_code) for name in names]
    rounds = [[measure_speed(config, steps, warmup) for config in configs] for _ in range(1 if against is None else 3)]
    best = [min(speeds, key=lambda speed: speed.median) for speeds in zip(*rounds, strict=True)]
    if json:
        print(json_module.dumps({name: asdict(speed) for name, speed in zip(names, best, strict=True)}, indent=2))
        return
    rows = [["", "step", "90 % below", "samples/s", "data wait", "memory"]]
    for name, speed in zip(names, best, strict=True):
        times = [f"{1000 * seconds:.2f} ms" for seconds in (speed.median, speed.p90)]
        wait, memory = f"{100 * speed.waited:.0f} %", bytes_text(speed.peak_bytes)
        rows.append([name, *times, f"{speed.samples_per_second:,.0f}", wait, memory])
    print(options.table(rows))
    if against is not None:
        print(f"{target} takes {best[0].median / best[1].median:.2f} times as long a step as {against}")
