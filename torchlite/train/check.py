"""What `validate` finds by building the model: shapes that do not fit, and data that is not there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from torchlite import datasets, dtypes, nn
from torchlite._tensor import Tensor
from torchlite.devices import META
from torchlite.errors import ConfigError, DataError, DeviceError, MissingDataError, UsageError
from torchlite.ops.creation import empty, zeros
from torchlite.train.config.components import Component
from torchlite.train.config.diagnostics import Problem
from torchlite.train.config.load import data_card
from torchlite.train.config.own_data import OWN_DATA
from torchlite.train.config.schema import Config
from torchlite.train.footprint import Footprint, copies_kept, footprint
from torchlite.train.initial import check_weights, trace_teacher
from torchlite.train.initializing import NEED_MATRICES, ruled
from torchlite.train.mixing import Mixing, why_not
from torchlite.train.model import Trace, build_model, build_models, shape_text, trace_models
from torchlite.train.optimizers import make_optimizers
from torchlite.train.patterns import matched, unmatched, without_decay
from torchlite.train.precision import mixed_on_shapes
from torchlite.train.registry import signature
from torchlite.train.sources import check_own
from torchlite.vision.transforms import Compose


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
    mix, target = config.data.mix, data_card(config.data).target
    if mix is not None and (reason := why_not(mix, shape, dtype.is_floating_point, target.shape)) is not None:
        return {}, [Problem(("data", "mix"), "TL503", reason)]
    traces = trace_models(config, shape, dtype, batch)
    try:
        teacher = trace_teacher(config, shape, dtype, batch)
    except (UsageError, ConfigError) as error:
        hint = "write it under teacher.model, or name a run that is there"
        return {}, [Problem(("teacher", "weights"), "TL504", f"the network of the teacher is not known: {error}", hint)]
    misfits = [
        trace.problem for trace in (*traces.values(), teacher) if trace is not None and trace.problem is not None
    ]
    if misfits:
        return {}, misfits
    specs = {name: f"{shape_text(trace.input)} -> {shape_text(trace.output)}" for name, trace in traces.items()}
    spec = "; ".join(f"{name}: {text}" for name, text in specs.items()) if config.models else specs["model"]
    problems = [] if config.models else _check_loss(config, traces["model"], teacher)
    if any(problem.path == ("loss",) for problem in problems):
        return {"spec": spec}, problems
    problems += _check_parameters(config, traces)
    if config.init is not None or config.teacher is not None:
        taught = None if teacher is None else build_model(teacher, META)
        problems += check_weights(config, build_models(config, traces, META), taught)
    size = size_of(config, traces)
    return {"params": size.params, "flops": size.flops, "peak_bytes": size.peak_bytes, "spec": spec}, problems


def traces_of(config: Config) -> dict[str, Trace]:
    """The models of ``config`` followed on the shapes of a training batch."""
    shape, dtype = transformed(config, "train")
    return trace_models(config, shape, dtype, config.data.batch_size)


def size_of(config: Config, traces: Mapping[str, Trace]) -> Footprint:
    """The footprint of a training step of ``config``; with a step of one's own, of one pass through every model."""
    batch = config.data.batch_size
    with mixed_on_shapes(config.train.precision):
        if config.models:
            loss = sum((trace.output.sum() for trace in traces.values()), zeros(()))
        else:
            targets = _targets(config, batch, mixed=config.data.mix is not None)
            loss = config.loss.build()(traces["model"].output, targets)
    modules = [module for trace in traces.values() for module in trace.modules()]
    return footprint(modules, loss, batch, copies_kept(config.optim) + (config.train.ema is not None))


def _targets(config: Config, batch: int, *, mixed: bool = False) -> Tensor:
    """The targets of a batch; where it is ``mixed``, those that stand for classes are shares of them."""
    card = data_card(config.data)
    if mixed and card.target.dtype == "int64":
        return empty(batch, card.num_classes, device=META)
    return empty(batch, *card.target.shape, dtype=dtypes.of(np.dtype(card.target.dtype)), device=META)


def mixing_of(config: Config) -> Mixing | None:
    """What mixes training batches, if they are to be mixed."""
    return None if config.data.mix is None else Mixing(config.data.mix, data_card(config.data).num_classes)


def _check_loss(config: Config, trace: Trace, teacher: Trace | None) -> list[Problem]:
    found = _check_loss_on(config, trace, teacher, _targets(config, trace.input.shape[0]))
    if found or config.data.mix is None:
        return found
    shares = _targets(config, trace.input.shape[0], mixed=True)
    found = _check_loss_on(config, trace, teacher, shares)
    hint = (
        f"{config.loss.name} takes no shares of classes, which data.mix makes: use cross_entropy, or leave out data.mix"
    )
    return [dataclasses.replace(one, hint=hint) for one in found]


def _check_loss_on(config: Config, trace: Trace, teacher: Trace | None, target: Tensor) -> list[Problem]:
    card = data_card(config.data)
    out = trace.output
    try:
        with mixed_on_shapes(config.train.precision):
            loss = config.loss.build()
            if teacher is not None and getattr(loss, "hints", None):
                _take_hints(loss, trace, teacher)
            loss(out, target, *([teacher.output] if teacher is not None else []))
    except Exception as error:  # whatever the loss raises says why it does not fit
        reason = str(error).splitlines()[0]
        targets = f"targets {shape_text(target)}" if target.ndim > 1 else "class indices [N]"
        message = f"{config.loss.name} can't compare the model's output {shape_text(out)} with {targets}: {reason}"
        return [Problem(("loss",), "TL502", message, _cure_of_loss(config, out))]
    if out.ndim == len(card.target.shape) + 2 and card.target.dtype == "int64" and out.shape[-1] < card.num_classes:
        message = (
            f"the model gives {out.shape[-1]} numbers a sample, but {config.data.type} has {card.num_classes} classes"
        )
        hint = "end the model with `Linear: $data.num_classes`"
        return [Problem(trace.layers[-1].component.path, "TL502", message, hint)]
    return []


def _cure_of_loss(config: Config, out: Tensor) -> str | None:
    card = data_card(config.data)
    if config.loss.name == "cross_entropy" and out.ndim == 3 and len(card.target.shape) == 1:
        return "sequence_cross_entropy compares every place of a sequence"
    fits = out.ndim == 1 + max(len(card.target.shape), 1)
    return None if fits else f"end the model with `Linear: $data.num_classes` ({card.num_classes})"


def _take_hints(loss: Any, trace: Trace, teacher: Trace) -> None:
    """Let a loss see what the modules of both models give, on shapes."""
    both = [build_model(one, META) for one in (trace, teacher)]
    loss.watch(*both)
    for model, one in zip(both, (trace, teacher), strict=True):
        model(one.input)


def _check_parameters(config: Config, traces: Mapping[str, Trace]) -> list[Problem]:
    """Whether patterns name parameters, and the optimizer takes them: Muon, say, takes matrices only."""
    patterns = config.freeze, config.init, config.model.init, config.optim.groups, config.optim.no_decay, config.models
    if any(patterns):  # parameters need the names that they will have
        model = build_models(config, traces, META)
    else:
        model = nn.ModuleList(traces["model"].modules())
    names = [name for name, _ in model.named_parameters()]
    if not names:
        return []
    problems = [*_unmatched(config, model, names), *_initial_values(config, model)]
    try:
        make_optimizers(config.optim, model)
    except Exception as error:  # whatever the optimizer raises says why
        message = f"{config.optim.name} can't take the model's parameters: {str(error).splitlines()[0]}"
        problems.append(Problem(("optim",), "TL505", message))
    return problems


def _unmatched(config: Config, model: nn.Module, names: Sequence[str]) -> Iterator[Problem]:
    patterns: dict[tuple[str | int, ...], str] = {}
    patterns |= {("optim", "groups", i, "match"): group.match for i, group in enumerate(config.optim.groups)}
    patterns |= {
        ("freeze", "modules", i): pattern for i, pattern in enumerate(config.freeze.modules if config.freeze else ())
    }
    if config.init is not None:
        patterns |= {("init", "expect_missing", i): one for i, one in enumerate(config.init.expect_missing)}
    hint = f"its parameters are {', '.join(names[:8])}" + (", ..." if len(names) > 8 else "")
    for path, pattern in patterns.items():
        if unmatched([pattern], names):
            yield Problem(path, "TL506", f"'{pattern}' matches no parameter of the model", hint)
    for i, word in enumerate(config.optim.no_decay):
        if not without_decay(model, [word]):
            yield Problem(("optim", "no_decay", i), "TL506", f"'{word}' matches no parameter of the model", hint)
    freeze = config.freeze
    if freeze is not None and not freeze.unfreeze and all(matched(freeze.modules, name) for name in names):
        yield Problem(("freeze",), "TL506", "every parameter of the model is frozen: nothing is trained")


def _initial_values(config: Config, model: nn.Module) -> Iterator[Problem]:
    """Whether every rule of initial values is for some parameters, and for none that it can't fill."""
    networks = {name: (getattr(model, name), one) for name, one in config.models.items()} or {"": (model, config.model)}
    for network, described in networks.values():
        found = list(ruled(network, described.init))
        for rule in described.init:
            own = [(name, parameter) for one, name, parameter in found if one is rule]
            flat = [name for name, parameter in own if parameter.ndim < 2]
            if not own:
                meant = (
                    f"'{rule.match}'" if rule.match is not None else f"{rule.component.name}, as the rules before it,"
                )
                yield Problem(rule.component.path, "TL506", f"{meant} leaves no parameter to fill")
            elif flat and rule.component.name in NEED_MATRICES:
                message = f"{rule.component.name} fills parameters of two dimensions or more, '{flat[0]}' has fewer"
                yield Problem(rule.component.path, "TL504", message, 'match only such, e.g. match: ".*weight"')


def transformed(config: Config, stage: str) -> tuple[tuple[int, ...], dtypes.dtype]:
    """Shape and dtype of a sample behind the transforms of ``stage`` ("train" or "eval").

    Raises:
        ValueError: when a transform cannot take what the one before gives.
    """
    card = data_card(config.data)
    shape, name = pipeline(config, stage).infer(tuple(card.input.shape), card.input.dtype)
    return tuple(shape), dtypes.of(np.dtype(name))


def pipeline(config: Config, stage: str) -> Compose:
    """The transforms of ``stage`` ("train" or "eval") as one.

    Raises:
        ValueError: when a transform can't be made so.
    """
    known = {"sample_rate": data_card(config.data).sample_rate}
    return Compose([_transform(component, known) for component in getattr(config.data.transforms, stage)])


def _transform(component: Component, known: Mapping[str, Any]) -> Any:
    """A transform; what it takes from the data is one of the ``known`` where the configuration does not give it."""
    taken = signature("transform", component.target())
    supplied = {name: known.get(name) for name in taken.inferred if name not in component.arguments}
    for name, value in supplied.items():
        parameter = taken.find(name)
        if value is None and parameter is not None and parameter.required:
            raise ValueError(f"{component.name} needs '{name}', and the data does not say it")
    return component.build(**{name: value for name, value in supplied.items() if value is not None})


def check_data(config: Config) -> list[Problem]:
    """Whether the data is there and is what its card says; nothing is downloaded."""
    own = config.data.type in OWN_DATA
    splits = ("train", "val", "test") if own else ("train", "test")
    for split in splits:
        if own and split != "train" and not getattr(config.data, split, None):
            continue
        try:
            if own:
                check_own(config, split)
            else:
                datasets.load(config.data.type, split, root=config.data.root, download=False)
        except (DataError, DeviceError) as error:  # or the package is missing that reads it
            code = "TL601" if isinstance(error, MissingDataError) else "TL602"
            return [Problem(("data",), code, str(error))]
    return []
