"""What `validate` finds by building the model: shapes that do not fit, and a first step that fails."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import datasets, dtypes, nn
from torchlite._tensor import Tensor
from torchlite.devices import CPU, META
from torchlite.errors import DataError, MissingDataError
from torchlite.ops.creation import empty, tensor
from torchlite.ops.exchange import from_numpy
from torchlite.ops.generator import default_generator
from torchlite.train.config.diagnostics import Problem
from torchlite.train.config.load import dataset_card
from torchlite.train.config.schema import Config
from torchlite.train.footprint import copies_kept, footprint
from torchlite.train.model import Trace, build_model, shape_text, trace_model
from torchlite.vision.transforms import Compose, sample_keys


def check_shapes(config: Config) -> tuple[dict[str, Any], list[Problem]]:
    """Follow one batch through transforms, model and loss without data.

    Returns the numbers of `validate`'s report (``params``, ``flops``, ``peak_bytes``, ``spec``), as far as they
    could be found, and what does not fit.
    """
    try:
        shape, dtype = transformed(config, "train")
    except ValueError as error:
        return {}, [Problem(("data", "transforms"), "TL503", str(error))]
    if not dtype.is_floating_point and dtype is not dtypes.int64:
        hint = "start data.transforms with to_float, or with to_int64 for an Embedding"
        message = f"the model gets {dtype.name} numbers: the data is never converted to float"
        return {}, [Problem(("data", "transforms"), "TL503", message, hint)]
    batch = config.data.batch_size
    trace = trace_model(config, shape, dtype, batch)
    if trace.problem is not None:
        return {}, [trace.problem]
    spec = f"{shape_text(trace.input)} -> {shape_text(trace.output)}"
    loss, problems = _check_loss(config, trace)
    if loss is None:
        return {"spec": spec}, problems
    problems = problems + _check_optimizer(config, trace)
    size = footprint(trace.modules(), loss, batch, copies_kept(config.optim))
    return {"params": size.params, "flops": size.flops, "peak_bytes": size.peak_bytes, "spec": spec}, problems


def _check_loss(config: Config, trace: Trace) -> tuple[Tensor | None, list[Problem]]:
    card = dataset_card(config.data.type)
    out = trace.output
    target = empty(trace.input.shape[0], dtype=dtypes.int64, device=META)
    try:
        with META:
            loss: Tensor = config.loss.build()(out, target)
    except Exception as error:  # whatever the loss raises says why it does not fit
        reason = str(error).splitlines()[0]
        message = (
            f"{config.loss.name} can't compare the model's output {shape_text(out)} with class indices [N]: {reason}"
        )
        hint = f"end the model with `Linear: $data.num_classes` ({card.num_classes})" if out.ndim != 2 else None
        return None, [Problem(("loss",), "TL502", message, hint)]
    if out.ndim == 2 and out.shape[1] < card.num_classes:
        message = (
            f"the model gives {out.shape[1]} numbers a sample, but {config.data.type} has {card.num_classes} classes"
        )
        hint = "end the model with `Linear: $data.num_classes`"
        return loss, [Problem(trace.layers[-1].component.path, "TL502", message, hint)]
    return loss, []


def _check_optimizer(config: Config, trace: Trace) -> list[Problem]:
    """Whether the optimizer takes the model's parameters: its ranges are checked before, but Muon takes matrices only."""
    parameters = [p for module in trace.modules() for p in module.parameters()]
    if not parameters:
        return []
    try:
        config.optim.build(parameters)
    except Exception as error:  # whatever the optimizer raises says why
        message = f"{config.optim.name} can't take the model's parameters: {str(error).splitlines()[0]}"
        return [Problem(("optim",), "TL505", message)]
    return []


def transformed(config: Config, stage: str) -> tuple[tuple[int, ...], dtypes.dtype]:
    """Shape and dtype of a sample behind the transforms of ``stage`` ("train" or "eval").

    Raises:
        ValueError: when a transform cannot take what the one before gives.
    """
    card = dataset_card(config.data.type)
    shape, name = pipeline(config, stage).infer(tuple(card.input.shape), card.input.dtype)
    return tuple(shape), dtypes.of(np.dtype(name))


def pipeline(config: Config, stage: str) -> Compose:
    """The transforms of ``stage`` ("train" or "eval") as one."""
    return Compose([component.build() for component in getattr(config.data.transforms, stage)])


def check_data(config: Config) -> list[Problem]:
    """Whether the data is there and is what its card says; nothing is downloaded."""
    for split in ("train", "test"):
        try:
            datasets.load(config.data.type, split, root=config.data.root, download=False)
        except DataError as error:
            code = "TL601" if isinstance(error, MissingDataError) else "TL602"
            return [Problem(("data",), code, str(error))]
    return []


def check_smoke(config: Config) -> list[Problem]:
    """One training step on made-up data on the CPU: forward, backward and update must work and stay finite."""
    shapes, problems = check_shapes(config)
    if problems or not shapes:
        return problems
    state = default_generator.state()
    default_generator.manual_seed(config.seed)
    try:
        return _smoke(config)
    finally:
        default_generator.restore(state)


def _smoke(config: Config) -> list[Problem]:
    card = dataset_card(config.data.type)
    batch = min(config.data.batch_size, 8)
    rng = np.random.default_rng(config.seed)
    samples = rng.integers(0, card.scale + 1, (batch, *card.input.shape)).astype(card.input.dtype)
    keys = sample_keys(config.seed, 0, np.arange(batch))
    x = from_numpy(np.ascontiguousarray(pipeline(config, "train")(samples, keys)))
    y = tensor(np.arange(batch) % card.num_classes)
    trace = trace_model(config, x.shape[1:], x.dtype, batch)
    model = build_model(config, trace, CPU)
    criterion = config.loss.build()

    def gradients() -> Tensor:
        model.zero_grad()
        loss: Tensor = criterion(model(x), y)
        loss.backward()
        return loss

    try:
        loss = gradients()
        parameters = list(model.parameters())
        if parameters:
            optimizer = config.optim.build(parameters)
            optimizer.step(*([gradients] if optimizer.needs_closure else []))
    except Exception as error:  # the purpose is to find whatever goes wrong
        return [
            Problem(("model",), "TL701", f"a training step on made-up data failed: {type(error).__name__}: {error}")
        ]
    return _non_finite(loss, model)


def _non_finite(loss: Tensor, model: nn.Module) -> list[Problem]:
    if not bool(loss.isfinite()):
        return [Problem(("loss",), "TL702", f"the loss of the first step is {loss.item()}")]
    bad = [n for n, p in model.named_parameters() if p.grad is not None and not bool(p.grad.isfinite().all())]
    if bad:
        return [Problem(("model",), "TL702", f"the gradient of {', '.join(bad)} is not finite in the first step")]
    return []
