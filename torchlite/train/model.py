"""From the model section of a configuration to a module: sizes that follow from the input are filled in."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import Any

from torchlite import dtypes, nn
from torchlite._tensor import Tensor
from torchlite.devices import META, Device
from torchlite.ops.creation import empty
from torchlite.train.config.components import INPUT, PREVIOUS, Component, KeyPath
from torchlite.train.config.diagnostics import Problem
from torchlite.train.config.load import data_card
from torchlite.train.config.schema import Config, Model
from torchlite.train.initializing import initialize
from torchlite.train.layers import Call, LayerList, Structure, Value, called, chosen, value_of
from torchlite.train.precision import mixed_on_shapes
from torchlite.train.registry import FROM_DATA, signature

_OF_ITSELF = {"MultiheadAttention": 3}
"""Layers that take one value as several of their inputs: query, key and value of attention to itself."""


@dataclass(frozen=True)
class TracedLayer:
    """One layer as it was built, with the sizes that its input decided and what it makes of that input.

    `nested` holds the layers in its arguments: one, a list, or a list of lists.
    """

    component: Component
    inferred: dict[str, Any]
    module: nn.Module
    call: Call
    result: Any
    output: Tensor
    nested: dict[str, Any] = field(default_factory=dict)

    @property
    def is_wired(self) -> bool:
        """Whether more happens around this layer than that one value goes in and one comes out."""
        plain = self.call == Call(self.call.key) and not self.call.is_named and self.result is self.output
        return not plain or isinstance(self.module, Structure)

    def parts(self) -> Iterator[tuple[str, Sequence[TracedLayer]]]:
        """The lists of layers inside this one, each with the argument that holds it; one without layers is left out."""
        yield from ((argument, layers) for argument, layers in self._lists() if layers)

    def _lists(self) -> Iterator[tuple[str, Sequence[TracedLayer]]]:
        for argument, value in self.nested.items():
            if isinstance(value, TracedLayer):
                yield argument, [value]
            elif value and isinstance(value[0], list):
                yield from ((f"{argument}.{index}", path) for index, path in enumerate(value))
            else:
                yield argument, value


@dataclass
class Trace:
    """A model followed on shapes alone.

    Attributes:
        model: what the configuration says.
        input: a tensor without data, as batches will be.
        tokens: how many different numbers the input holds, where they are integers.
        layers: what was built, up to the first layer that cannot take its input.
        problem: why that one cannot.
    """

    model: Model
    input: Tensor
    tokens: int | None = None
    layers: list[TracedLayer] = field(default_factory=list)
    problem: Problem | None = None

    @property
    def output(self) -> Tensor:
        """What the model makes of the input."""
        return self.layers[-1].output if self.layers else self.input

    def modules(self) -> list[nn.Module]:
        """The modules, without data."""
        return [layer.module for layer in self.layers]


def trace_model(config: Config, shape: Sequence[int], dtype: Any, batch: int, model: Model | None = None) -> Trace:
    """Build a model without data and follow a batch of ``batch`` samples of ``shape`` through it.

    It is the configuration's unless another ``model`` is given; one that says which `input` it takes gets that, as float32.
    """
    followed = config.model if model is None else model
    if followed.input is not None:
        shape, dtype = followed.input, dtypes.float32
    x = empty(batch, *shape, dtype=dtype, device=META)
    tokens = None if dtype.is_floating_point else int(data_card(config.data).scale) + 1
    trace = Trace(followed, x, tokens)
    with mixed_on_shapes(config.train.precision):
        try:
            _follow(followed.components, trace, trace.layers, x, {INPUT: Value(x, x)})
        except _Misfit as misfit:
            trace.problem = misfit.problem
    return trace


def trace_models(config: Config, shape: Sequence[int], dtype: Any, batch: int) -> dict[str, Trace]:
    """The traces of all `models` by name; that of the one `model` is called ``model``."""
    models = config.models or {"model": config.model}
    return {name: trace_model(config, shape, dtype, batch, model) for name, model in models.items()}


def build_models(config: Config, traces: Mapping[str, Trace], device: Device) -> nn.Module:
    """The one model, or all of them by name as a `ModuleDict`."""
    built = {name: build_model(trace, device) for name, trace in traces.items()}
    return nn.ModuleDict(built) if config.models else built["model"]


def build_model(trace: Trace, device: Device) -> nn.Module:
    """The model with initial values, drawn from the default generator in the order of the layers."""
    with device:
        alone = trace.model.layers is None and not trace.layers[0].is_wired
        model = _built(trace.layers[0]) if alone else _made_list(trace.layers, _built)
    if trace.model.init and device.type != "meta":
        initialize(model, trace.model.init)
    return model


Make = Callable[["TracedLayer"], nn.Module]
"""Gives the module of a layer: a new one, or that with which it was traced."""


def _built(layer: TracedLayer) -> nn.Module:
    return _module(layer.component, layer.inferred, layer.nested, _built)


def _module(component: Component, inferred: Mapping[str, Any], nested: Mapping[str, Any], make: Make) -> nn.Module:
    """A layer; ``make`` gives those inside it."""
    made = {argument: _made_nested(value, make) for argument, value in nested.items()}
    module: nn.Module = made["layers"] if component.layers else component.build(**inferred, **made)
    return module


def _made_nested(value: Any, make: Make) -> Any:
    if isinstance(value, TracedLayer):
        return make(value)
    if value and isinstance(value[0], list):
        return [_made_list(path, make) for path in value]
    return _made_list(value, make)


def _made_list(layers: Sequence[TracedLayer], make: Make) -> nn.Module:
    modules = [make(layer) for layer in layers]
    if any(layer.is_wired for layer in layers):
        return LayerList(modules, [layer.call for layer in layers])
    return nn.Sequential(*modules)


class _Misfit(Exception):
    """A layer cannot take its input; the problem says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Unfit(Exception):
    """The same, found before the layer was called: at one of its arguments, with what to do about it."""

    def __init__(self, message: str, hint: str, argument: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.argument = argument


Values = Mapping[str, Value]


def _follow(
    components: Sequence[Component], trace: Trace, layers: list[TracedLayer], x: Tensor, values: Values
) -> None:
    """Put what is built of ``components`` into ``layers``; the first takes ``x``, and every one sees ``values``."""
    start, named = x, dict(values)
    for index, component in enumerate(components):
        names = component.inputs or (PREVIOUS,) * _OF_ITSELF.get(component.name, 1)
        call = Call(component.label or str(index), names, component.output)
        layer = _traced(component, call, trace, x, named, (start, layers))
        layers.append(layer)
        x = layer.output
        if call.is_named:
            named[call.key] = Value(x, layer.result)


def _traced(
    component: Component, call: Call, trace: Trace, x: Tensor, values: Values, before: tuple[Tensor, list[TracedLayer]]
) -> TracedLayer:
    try:
        inputs = [value_of(name, x, values) for name in call.inputs]
        inferred = _sizes_from(component, inputs, trace)
        nested = _nested(component, call, trace, x, values, before)
        module = _module(component, inferred, nested, attrgetter("module"))
        _check_inputs(module, len(inputs))
        result = called(module, call, x, values)
        output = chosen(module, result, call.output)
        if not isinstance(output, Tensor):
            raise TypeError(f"it returned {type(output).__name__}, not a tensor")
    except _Misfit:
        raise
    except Exception as error:  # whatever a layer raises says why it does not fit here
        raise _Misfit(_problem(component, before, x, error)) from error
    return TracedLayer(component, inferred, module, call, result, output, nested)


def _nested(
    component: Component, call: Call, trace: Trace, x: Tensor, values: Values, before: tuple[Tensor, list[TracedLayer]]
) -> dict[str, Any]:
    """The layers in the arguments of a component, followed on what it takes itself."""
    first = value_of(call.inputs[0], x, values)

    def a_list(components: Sequence[Component]) -> list[TracedLayer]:
        layers: list[TracedLayer] = []
        _follow(components, trace, layers, first, values)
        return layers

    nested: dict[str, Any] = {"layers": a_list(component.layers)} if component.layers else {}
    for argument, value in component.arguments.items():
        if isinstance(value, Component):
            required, _ = _inputs_of(value.target())
            own = Call("0", value.inputs or call.inputs[: max(required, 1)], value.output)
            nested[argument] = _traced(value, own, trace, x, values, before)
        elif isinstance(value, tuple) and all(isinstance(item, Component) for item in value):
            nested[argument] = a_list(value)
        elif isinstance(value, tuple):
            nested[argument] = [a_list(path) for path in value]
    if component.name == "residual" and component.arguments.get("shortcut") == "auto":
        out = nested["layers"][-1].output if nested["layers"] else first
        nested["shortcut"] = a_list(_shortcut(component.path, first.shape, out.shape))
    return nested


def _shortcut(path: KeyPath, size: Sequence[int], wanted: Sequence[int]) -> list[Component]:
    """The layer of a residual's shortcut that gives ``wanted``: none, a linear map, a convolution of kernel size 1."""
    if size == wanted:
        return []
    if size[:-1] == wanted[:-1]:
        return [Component("layer", "Linear", {"out_features": wanted[-1], "bias": False}, path)]
    lengths = list(zip(size[2:], wanted[2:], strict=False))
    strides = [max(1, -(-n // m)) for n, m in lengths]
    if len(size) != len(wanted) or any((n - 1) // s + 1 != m for (n, m), s in zip(lengths, strides, strict=True)):
        message = f"no convolution of kernel size 1 makes {_text(size)} into {_text(wanted)}"
        raise _Unfit(message, "write the layers of the shortcut: shortcut: [...]", "shortcut")
    arguments = {"out_channels": wanted[1], "kernel_size": 1, "stride": strides, "bias": False}
    return [Component("layer", f"Conv{len(lengths)}d", arguments, path)]


def _sizes_from(component: Component, inputs: Sequence[Tensor], trace: Trace) -> dict[str, Any]:
    """The constructor arguments that the inputs decide and the configuration leaves out."""
    target, given = component.target(), component.arguments
    taken = signature("layer", target)
    found: dict[str, Any] = {}
    for argument, place in getattr(target, "inferred", {}).items():
        which, dim = place if isinstance(place, tuple) else (0, place)
        shape = inputs[which].shape if which < len(inputs) else ()
        if -len(shape) <= dim < len(shape):
            _check_size(component, argument, shape, dim)
            found[argument] = shape[dim]
    if taken.find("batch_first") is not None:
        found["batch_first"] = True  # as all data here is
    for argument in taken.inferred & FROM_DATA:
        if trace.tokens is not None:
            found[argument] = trace.tokens
        elif argument not in given:
            message = f"'{argument}' is not known: the data is no tokens"
            raise _Unfit(message, f"put to_int64 into data.transforms, or give {argument}")
    return {argument: size for argument, size in found.items() if argument not in given}


def _check_size(component: Component, argument: str, shape: Sequence[int], dim: int) -> None:
    written = component.arguments.get(argument)
    if isinstance(written, int) and written != shape[dim]:
        message = f"{component.name}'s '{argument}' is {written}, but its input {_text(shape)} has {shape[dim]}"
        raise _Unfit(message, f"leave it out: {shape[dim]} follows from the input", argument)


def _inputs_of(layer: Any) -> tuple[int, float]:
    """How many inputs a class of layers needs and takes at most."""
    return (1, 1) if issubclass(layer, Structure) else _inputs_of_method(layer.forward)


@lru_cache(maxsize=256)
def _inputs_of_method(forward: Callable[..., Any]) -> tuple[int, float]:
    parameters = list(inspect.signature(forward).parameters.values())[1:]
    required = sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
    many = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return required, float("inf") if many else len(parameters)


def _check_inputs(module: nn.Module, count: int) -> None:
    required, most = _inputs_of(type(module))
    if not required <= count <= most:
        names = ", ".join(inspect.signature(module.forward).parameters)
        wanted = required if count < required else most
        hint = f"write inputs: [{', '.join([PREVIOUS, 'NAME', '...'][: max(required, 2)])}]"
        raise _Unfit(
            f"it takes {'at least ' * (count < required)}{wanted} inputs ({names}), not {count}", hint, "inputs"
        )


def shape_text(x: Tensor) -> str:
    """A batch's shape with the number of samples as N.

    >>> from torchlite.ops.creation import zeros
    >>> shape_text(zeros(8, 1, 28, 28))
    '[N, 1, 28, 28]'
    """
    return _text(x.shape)


def _text(shape: Sequence[int]) -> str:
    return f"[{', '.join(['N', *map(str, shape[1:])])}]"


def _problem(component: Component, before: tuple[Tensor, list[TracedLayer]], x: Tensor, error: Exception) -> Problem:
    start, layers = before
    if isinstance(error, _Unfit) and (error.argument in component.arguments or (error.argument and component.inputs)):
        return Problem((*component.path, error.argument), "TL501", str(error), error.hint)
    chain = " -> ".join(
        [f"input {shape_text(start)}", *(f"{layer.component.name} {shape_text(layer.output)}" for layer in layers)]
    )
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    message = f"{component.name} can't take its input {shape_text(x)}: {reason}\n{chain} -> {component.name} ✗"
    return Problem(component.path, "TL501", message, error.hint if isinstance(error, _Unfit) else _hint(component, x))


def _hint(component: Component, x: Tensor) -> str | None:
    if x.ndim == 2 and component.name.endswith("2d"):
        return f"{component.name} works on images (N, C, H, W): put it before Flatten, or use Linear"
    if x.ndim == 4 and component.name in ("RNN", "LSTM", "GRU", "SelfAttention", "TransformerEncoderLayer", "Pool"):
        return f"{component.name} works on sequences (N, T, C): `Flatten: [1, 2]` makes the rows of an image one"
    return None
