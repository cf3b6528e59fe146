"""PyTorch's module database against torchlite: how much of its samples comes out equal.

Every entry (``ModuleInfo``) of ``module_db`` knows how to make sample inputs of its module. Module and inputs are made with
both libraries, torchlite's loads PyTorch's ``state_dict``, and four things are compared, in training and in evaluation, in
float64 and in float32, with PyTorch's own default tolerances: the names and shapes of the ``state_dict``, and its numbers
after a call (running statistics); the results; the gradients of inputs and parameters for a random cotangent; and, for
the calls that PyTorch refuses, the type of the error. The samples are seeded; of each kind at most 24 are taken, evenly spaced.

Importing this skips the importing test module where torch is not installed.
"""

import copy
import json
import random
import types
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parity.op_db import converted, difference, mapped, tensors_in

import torchlite
import torchlite.nn.utils.rnn

torch = pytest.importorskip("torch")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's test machinery uses what torch deprecates
    from torch.nn.utils.rnn import PackedSequence
    from torch.testing._internal.common_modules import ModuleErrorEnum, module_db

RECORD = Path(__file__).with_name("module_db_counts.json")
DTYPES = (torch.float64, torch.float32)
CONSIDERED, TAKEN = 900, 24

# Two libraries draw different random numbers: shape and dtype of results are compared.
UNDETERMINED = {"nn.FractionalMaxPool2d", "nn.FractionalMaxPool3d"}

MODULES = {info.name: info for info in module_db}


@dataclass
class Counts:
    """How many comparisons of one module came out equal, of how many."""

    samples: int = 0
    of_samples: int = 0
    gradients: int = 0
    of_gradients: int = 0
    states: int = 0
    of_states: int = 0
    errors: int = 0
    of_errors: int = 0

    def row(self) -> list[int]:
        return [getattr(self, field.name) for field in fields(self)]


@dataclass
class Measured:
    """The counts of one module, None where torchlite does not have it, and the differences found."""

    counts: Counts | None
    differences: list[str]

    def note(self, what: str, outcome: str | None, described: str) -> None:
        """Count one comparison: ``outcome`` is None where it came out equal, else what differed."""
        counts = self.counts
        setattr(counts, f"of_{what}", getattr(counts, f"of_{what}") + 1)
        if outcome is None:
            setattr(counts, what, getattr(counts, what) + 1)
        else:
            self.differences.append(f"{described}: {outcome}")


def recorded() -> dict[str, list[int]]:
    """The counts that were committed, by module."""
    return json.loads(RECORD.read_text())


def measure(name: str) -> Measured:
    """Run the samples of one module with both libraries."""
    info = MODULES[name]
    if _ours(info.module_cls) is None:
        return Measured(None, [])
    measured = Measured(Counts(), [])
    for dtype in DTYPES:
        for training in (True, False):
            for sample in _samples(info.module_inputs_func, info, dtype, training):
                kind = f"{name} {'training' if training else 'evaluation'} {str(dtype)[6:]}"
                _compare(measured, info, sample, dtype, training, f"{kind} {_described(sample)}")
    if info.module_error_inputs_func is not None:
        for error in _samples(info.module_error_inputs_func, info, DTYPES[0], True):
            outcome = _refusal(info, error)
            if outcome != "torch accepts it":
                measured.note("errors", outcome, f"{name} error {_described(error.module_error_input)}")
    return measured


def _samples(function: Callable[..., Any], info: Any, dtype: Any, training: bool) -> Iterator[Any]:
    seed = zlib.crc32(info.name.encode())
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = function(info, device="cpu", dtype=dtype, requires_grad=True, training=training)
        samples = list(islice(made, CONSIDERED))
    yield from samples[:: max(1, -(-len(samples) // TAKEN))]


def _described(sample: Any) -> str:
    inputs = (sample.constructor_input, sample.forward_input)
    parts = [mapped(f"{x.args} {x.kwargs}" if x else "", str) for x in (inputs[0],)]
    shapes = "" if inputs[1] is None else [list(x.shape) for x in tensors_in((*inputs[1].args, inputs[1].kwargs))]
    return f"{sample.desc} {parts[0]} {shapes}".replace("\n", " ")[:200]


def _compare(measured: Measured, info: Any, sample: Any, dtype: Any, training: bool, described: str) -> None:
    made, call = sample.constructor_input, sample.forward_input
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = info.module_cls(*made.args, **made.kwargs).to(dtype).train(training)
        args, kwargs = _with_gradients((call.args, call.kwargs))
        if info.is_lazy:
            theirs(*_with_gradients(call.args), **_with_gradients(call.kwargs))
        names = {key: tuple(value.shape) for key, value in theirs.state_dict().items()}
        try:
            ours = _ours(info.module_cls)(*_as_ours(made.args), **_as_ours(made.kwargs))
            ours = ours.to(converted(dtype)).train(training)
            ours.load_state_dict({key: converted(value.clone()) for key, value in theirs.state_dict().items()})
            own = {key: tuple(value.shape) for key, value in ours.state_dict().items()}
            measured.note("states", None if own == names else f"state_dict {own} instead of {names}", described)
        except Exception as error:
            measured.note("states", _named(error), described)
            return
        own_args, own_kwargs = _as_ours(args), _as_ours(kwargs)
        expected = theirs(*args, **kwargs)
        determined = info.name not in UNDETERMINED
        try:
            got = ours(*own_args, **own_kwargs)
            measured.note("samples", difference(got, expected, numbers=determined), described)
        except Exception as error:
            measured.note("samples", _named(error), described)
            return
        state = difference(list(ours.state_dict().values()), list(theirs.state_dict().values()))
        measured.note("states", state, f"{described} after the call")
        if determined:
            _compare_gradients(
                measured, (got, (own_args, own_kwargs), ours), (expected, (args, kwargs), theirs), described
            )


def _compare_gradients(measured: Measured, ours: Any, theirs: Any, described: str) -> None:
    """The gradients of all inputs and parameters; each side is (results, inputs, module)."""
    outs, expected_outs = ([y for y in tensors_in(side[0]) if y.requires_grad] for side in (ours, theirs))
    if not expected_outs:
        return
    leaves, expected_leaves = (
        [*(x for x in tensors_in(inputs) if x.requires_grad), *module.parameters()]
        for _, inputs, module in (ours, theirs)
    )
    rng = np.random.default_rng(0)
    cotangents = [torch.from_numpy(np.asarray(rng.normal(size=tuple(y.shape)))).to(y.dtype) for y in expected_outs]
    expected = torch.autograd.grad(expected_outs, expected_leaves, cotangents, allow_unused=True)
    try:
        if len(outs) != len(expected_outs):
            raise ValueError(f"{len(outs)} differentiable results instead of {len(expected_outs)}")
        got = torchlite.autograd.grad(outs, leaves, converted(cotangents), allow_unused=True)
        pairs = zip(got, leaves, expected, expected_leaves, strict=True)
        outcomes = [
            _gradient_difference(x.new_zeros(x.shape) if g is None else g, torch.zeros_like(leaf) if e is None else e)
            for g, x, e, leaf in pairs
        ]
        measured.note("gradients", next((o for o in outcomes if o), None), f"{described} gradient")
    except Exception as error:
        measured.note("gradients", _named(error), f"{described} gradient")


def _gradient_difference(got: Any, expected: Any) -> str | None:
    """`difference`, with numbers as shares of the largest: they are sums, whose rounding grows with what is added up."""
    largest = max(float(expected.abs().max()), 1.0) if expected.numel() else 1.0
    return difference(got / largest, expected / largest)


def _refusal(info: Any, error: Any) -> str | None:
    """None where both libraries raise an error of the type that PyTorch's tests expect."""
    sample = error.module_error_input
    made, call = sample.constructor_input, sample.forward_input

    def run(cls: Any, convert: Callable[[Any], Any]) -> None:
        module = cls(*convert(made.args), **convert(made.kwargs))
        if error.error_on is ModuleErrorEnum.FORWARD_ERROR:
            dtype = next((x.dtype for x in tensors_in(call.args) if x.is_floating_point()), torch.float64)
            module.to(convert(dtype))
            module(*convert(call.args), **convert(call.kwargs))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run(info.module_cls, copy.copy)
        except Exception:
            pass
        else:
            return "torch accepts it"
        kind = RuntimeError if error.error_type is NotImplementedError else error.error_type
        try:
            run(_ours(info.module_cls), _as_ours)
        except kind:
            return None
        except Exception as found:
            return f"{_named(found)} instead of {kind.__name__}"
    return f"no error, {kind.__name__} expected"


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


def _ours(cls: Any) -> Any:
    """torchlite's module class of the same name, or None."""
    name = "Linear" if cls.__name__ == "NonDynamicallyQuantizableLinear" else cls.__name__
    return getattr(torchlite.nn, name, None)


def _with_gradients(value: Any) -> Any:
    """Inputs in memory of their own."""
    return _restored(value, lambda x: x.detach().clone().requires_grad_(x.requires_grad), PackedSequence)


def _as_ours(value: Any) -> Any:
    """Arguments of torch's modules as arguments of torchlite's."""
    return _restored(value, converted, torchlite.nn.utils.rnn.PackedSequence, _counterpart)


def _restored(value: Any, tensor: Callable[[Any], Any], packed: Any, other: Callable[[Any], Any] = lambda v: v) -> Any:
    """`mapped`, with packed sequences as such."""
    if isinstance(value, PackedSequence):
        return packed(*(None if x is None else tensor(x) for x in value))
    if type(value) in (list, tuple):
        return type(value)(_restored(v, tensor, packed, other) for v in value)
    if type(value) is dict:
        return {k: _restored(v, tensor, packed, other) for k, v in value.items()}
    return mapped(value, tensor, other)


def _counterpart(value: Any) -> Any:
    """torchlite's function or module in the place of torch's."""
    if isinstance(value, torch.nn.Module):
        return _rebuilt(value)
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType):
        return getattr(torchlite.nn.functional, value.__name__, value)
    return converted(value)


def _rebuilt(module: Any) -> Any:
    """A module of torchlite with the attributes, parameters and submodules of one of torch."""
    twin = object.__new__(_ours(type(module)))
    torchlite.nn.Module.__init__(twin)
    for name, value in vars(module).items():
        if not name.startswith("_") or name == "_qkv_same_embed_dim":
            object.__setattr__(twin, name, _as_ours(value))
    for name, parameter in module._parameters.items():
        own = None if parameter is None else torchlite.nn.Parameter(converted(parameter.detach()))
        twin.register_parameter(name, own)
    for name, buffer in module._buffers.items():
        twin.register_buffer(name, None if buffer is None else converted(buffer))
    for name, child in module._modules.items():
        twin.add_module(name, None if child is None else _rebuilt(child))
    return twin
