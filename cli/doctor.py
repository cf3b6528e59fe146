"""`torchlite doctor`: what this machine has, and what is missing."""

from __future__ import annotations

from torchlite.cli import options


def command(json: options.Json = False) -> None:
    """Show versions, processor, BLAS, GPU, compiler and optional packages."""
    import json as json_module

    from torchlite.train.doctor import examine

    report = examine()
    if json:
        print(json_module.dumps(report, indent=2))
        return
    for name, value in report.items():
        if isinstance(value, dict):
            text = ", ".join(f"{k}: {v}" for k, v in value.items()) or "-"
        else:
            text = "none found" if value is None else str(value)
        print(f"{name.ljust(10)} {text}")
