"""`torchlite serve`: a trained model that answers over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from torchlite.cli import options


def command(
    run: options.Trained,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; 127.0.0.1 is this machine alone.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8080,
    max_batch: Annotated[int, typer.Option("--max-batch", min=1, help="Samples or prompts of a request.")] = 1024,
    max_body: Annotated[float, typer.Option("--max-body", min=0.001, metavar="MB", help="Size of a request.")] = 16,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Text: tokens behind a prompt.")] = 1024,
    queue: Annotated[int, typer.Option("--queue", min=1, help="Requests that may wait; more get 429.")] = 64,
    deadline: Annotated[
        float, typer.Option("--deadline", min=0.001, metavar="SECONDS", help="From a request to its answer, else 504.")
    ] = 30,
    read_timeout: Annotated[
        float,
        typer.Option("--read-timeout", min=0.1, metavar="SECONDS", help="For headers, and for a body, to come."),
    ] = 10,
    checkpoint: options.Checkpoint = "best",
    device: options.Device = None,
    allow_code: options.AllowCode = False,
) -> None:
    """Answer requests for predictions over HTTP (JSON), by the Open Inference Protocol that KServe and Triton speak.

    An answer is what `torchlite predict` says of the same samples, to the bit. SIGTERM and Ctrl-C let requests that have come be
    answered. -v logs every request. There is no encryption and no password: put a proxy in front where others can reach it.
    """
    from torchlite.serve.limits import Limits
    from torchlite.serve.server import listen, model_of, require_packages, serve
    from torchlite.train.trained import load_trained

    require_packages()
    limits = Limits(max_batch, round(max_body * 2**20), max_tokens, queue, deadline, read_timeout)
    with listen(host, port) as listener:
        model = model_of(load_trained(run, checkpoint, device, allow_code=allow_code), limits)

        def started() -> None:
            shown = f"[{host}]" if ":" in host else host
            address = f"http://{shown}:{listener.getsockname()[1]}/v2/models/{model.name}"
            print(f"{address}  step {model.version}; Ctrl-C ends it", flush=True)

        serve(model, listener, limits, started)
