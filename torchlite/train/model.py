"""From the model section of a configuration to a module: sizes that follow from the input are filled in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torchlite import nn
from torchlite._tensor import Tensor
from torchlite.devices import META, Device
from torchlite.ops.creation import empty
from torchlite.train.config.components import Component
from torchlite.train.config.diagnostics import Problem
from torchlite.train.config.schema import Config


@dataclass(frozen=True)
class TracedLayer:
    """One layer as it was built, with the sizes that its input decided and what it makes of that input."""

    component: Component
    inferred: dict[str, Any]
    module: nn.Module
    output: Tensor
    layers: tuple[TracedLayer, ...] = ()


@dataclass
class Trace:
    """A model followed on shapes alone.

    Attributes:
        input: a tensor without data, as batches will be.
        layers: what was built, up to the first layer that cannot take its input.
        problem: why that one cannot.
    """

    input: Tensor
    layers: list[TracedLayer] = field(default_factory=list)
    problem: Problem | None = None

    @property
    def output(self) -> Tensor:
        """What the model makes of the input."""
        return self.layers[-1].output if self.layers else self.input

    def modules(self) -> list[nn.Module]:
        """The modules, without data."""
        return [layer.module for layer in self.layers]


def trace_model(config: Config, shape: Sequence[int], dtype: Any, batch: int) -> Trace:
    """Build the model without data and follow a batch of ``batch`` samples of ``shape`` through it."""
    trace = Trace(empty(batch, *shape, dtype=dtype, device=META))
    with META:
        _follow(config.model.layers or [_whole(config)], trace, trace.layers, trace.input)
    return trace


def build_model(config: Config, trace: Trace, device: Device) -> nn.Module:
    """The model with initial values, drawn from the default generator in the order of the layers."""
    with device:
        modules = [_built(layer) for layer in trace.layers]
    return nn.Sequential(*modules) if config.model.layers is not None else modules[0]


def _whole(config: Config) -> Component:
    assert config.model.component is not None
    return config.model.component


def _follow(components: Sequence[Component], trace: Trace, layers: list[TracedLayer], x: Any) -> Any:
    for component in components:
        inner: list[TracedLayer] = []
        if component.layers:
            made = _follow(component.layers, trace, inner, x)
            if trace.problem is not None:
                return None
            module = component.build(*(layer.module for layer in inner))
            layers.append(TracedLayer(component, {}, module, made, tuple(inner)))
            x = made
            continue
        inferred: dict[str, Any] = {}
        try:
            inferred = _sizes_from(component, x)
            module = component.build(**inferred)
            x = module(x)
            if not isinstance(x, Tensor):
                raise TypeError(f"it returned {type(x).__name__}, not a tensor")
        except Exception as error:  # whatever a layer raises says why it does not fit here
            trace.problem = _misfit(component, trace, x, error)
            return None
        layers.append(TracedLayer(component, inferred, module, x))
    return x


def _sizes_from(component: Component, x: Tensor) -> dict[str, Any]:
    """The constructor arguments that the input decides and the configuration leaves out."""
    wanted = getattr(component.target(), "inferred", {})
    return {
        argument: x.shape[dim]
        for argument, dim in wanted.items()
        if argument not in component.arguments and -x.ndim <= dim < x.ndim
    }


def _built(layer: TracedLayer) -> nn.Module:
    module: nn.Module
    if layer.component.layers:
        module = layer.component.build(*(_built(inner) for inner in layer.layers))
    else:
        module = layer.component.build(**layer.inferred)
    return module


def shape_text(x: Tensor) -> str:
    """A batch's shape with the number of samples as N.

    >>> from torchlite.ops.creation import zeros
    >>> shape_text(zeros(8, 1, 28, 28))
    '[N, 1, 28, 28]'
    """
    return f"[{', '.join(['N', *map(str, x.shape[1:])])}]"


def _misfit(component: Component, trace: Trace, x: Tensor, error: Exception) -> Problem:
    chain = " -> ".join(
        [f"input {shape_text(trace.input)}", *(f"{la.component.name} {shape_text(la.output)}" for la in trace.layers)]
    )
    hint = None
    if x.ndim == 2 and component.name in ("Conv2d", "MaxPool2d", "BatchNorm2d", "AdaptiveAvgPool2d"):
        hint = f"{component.name} works on images (N, C, H, W): put it before Flatten, or use Linear"
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    message = f"{component.name} can't take its input {shape_text(x)}: {reason}\n{chain} -> {component.name} ✗"
    return Problem(component.path, "TL501", message, hint)
