"""PyTorch's operator database against torchlite: how many of its samples, gradients, variants and errors are equal.

Every entry (``OpInfo``) of ``op_db`` knows how to make sample inputs of its operator. They are converted to torchlite,
the same call is made with both libraries, and results are compared with PyTorch's own default tolerances. The samples
are seeded; of the first 300 of each dtype at most 30 are taken, evenly spaced, so that the whole runs in minutes.

Variants are the method, the in-place form, ``out=`` and the operator's other names (aliases). For the entry's error
inputs, which PyTorch refuses, torchlite must raise an error of the same type.

Importing this skips the importing test module where torch is not installed.
"""

import builtins
import functools
import inspect
import json
import random
import types
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import determined_part
import numpy as np
import pytest

import torchlite

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's test machinery uses what torch deprecates
    from torch.testing._internal.common_methods_invocations import op_db

RECORD = Path(__file__).with_name("op_db_counts.json")
# `torch.manual_seed` also formats its call stack for each kind of device that is not there.
_seed = torch.default_generator.manual_seed
DTYPES = (torch.float64, torch.float32, torch.int64, torch.bool)
CONSIDERED, TAKEN, VARIANTS_TAKEN, ALIASED = 300, 30, 10, 3

# Two libraries draw different random numbers and find different rubbish in new memory: shape and dtype are compared.
UNDETERMINED = {
    *("bernoulli", "multinomial", "normal", "rand_like", "randint", "randint_like", "randn", "randn_like", "uniform"),
    *("cauchy", "exponential", "geometric", "log_normal", "empty", "empty_like", "empty_permuted", "empty_strided"),
    *("new_empty", "new_empty_strided", "nn.functional.dropout", "nn.functional.dropout2d", "nn.functional.dropout3d"),
    *("nn.functional.alpha_dropout", "nn.functional.feature_alpha_dropout", "nn.functional.rrelu"),
    *("nn.functional.feature_alpha_dropout.with_train", "nn.functional.fractional_max_pool2d"),
    *("nn.functional.fractional_max_pool3d", "pca_lowrank", "svd_lowrank"),
}

# PyTorch leaves what it finds in memory in ``out`` for some samples, which equals its result by chance.
RUBBISH_OUT = {"fft.ihfft2", "fft.ihfftn"}
# Which of equal elements comes first, or is named, is a library's choice.
TIES = {"sort", "argsort", "topk", "kthvalue", "mode"}
# Random where this argument, at this place or by this name, is not 0.
PROBABILITY = {
    "nn.functional.scaled_dot_product_attention": (4, "dropout_p"),
    "nn.functional.multi_head_attention_forward": (10, "dropout_p"),
}


@dataclass
class Counts:
    """How many comparisons of one operator came out equal, of how many."""

    samples: int = 0
    of_samples: int = 0
    gradients: int = 0
    of_gradients: int = 0
    variants: int = 0
    of_variants: int = 0
    errors: int = 0
    of_errors: int = 0

    def row(self) -> list[int]:
        return [getattr(self, field.name) for field in fields(self)]


@dataclass
class Measured:
    """The counts of one operator, None where torchlite does not have it, and the first differences found."""

    counts: Counts | None
    differences: list[str]

    def note(self, what: str, outcome: Any, described: str) -> None:
        """Count one comparison: ``outcome`` is None where it came out equal, else what differed."""
        if outcome is _NOT_COMPARABLE:
            return
        counts = self.counts
        setattr(counts, f"of_{what}", getattr(counts, f"of_{what}") + 1)
        if outcome is None:
            setattr(counts, what, getattr(counts, what) + 1)
        else:
            self.differences.append(f"{described}: {outcome}")


def full_name(info: Any) -> str:
    return f"{info.name}.{info.variant_test_name}" if info.variant_test_name else str(info.name)


def determined(info: Any, sample: Any = None) -> bool:
    """Whether both libraries should compute the same numbers, of this sample where one is given."""
    if info.name in UNDETERMINED or full_name(info) in UNDETERMINED:
        return False
    if sample is None or info.name not in PROBABILITY:
        return True
    place, name = PROBABILITY[info.name]
    given = (sample.input, *sample.args)
    return not (given[place] if place < len(given) else sample.kwargs.get(name))


OPERATORS = {full_name(info): info for info in op_db}


def not_public(name: str) -> str | None:
    """Why an entry is no public operator, or None where it is one."""
    last = name.split(".")[-1]
    if name.startswith(("ops.", "torch.ops")):
        return "an operator of ATen without a public name"
    if "jiterator" in name:
        return "compiles CUDA source"
    if "sparse" in name or name == "to_sparse":
        return "sparse tensors are out of scope"
    if name.startswith("_") and not name.startswith("__"):
        return "private"
    if last.startswith("_") and not last.startswith("__"):
        return "private"
    if name == "chalf":
        return "NumPy has no complex numbers of halves"
    if name in ("slice", "max_pool2d_with_indices_backward"):
        return "an operator of ATen without a public name"
    if name in ("native_batch_norm", "native_dropout_backward", "native_layer_norm"):
        return "the kernel under a public function"
    return None


def recorded() -> dict[str, list[int]]:
    """The counts that were committed, by operator."""
    return json.loads(RECORD.read_text())


def measure(name: str) -> Measured:
    """Run the samples of one operator with both libraries."""
    info = OPERATORS[name]
    ours = operator_of(info)
    if ours is None:
        return Measured(None, [])
    measured = Measured(Counts(), [])
    for dtype in [d for d in DTYPES if d in info.supported_dtypes("cpu")] or [torch.complex128]:
        differentiable = dtype in (torch.float64, torch.complex128) and info.supports_autograd
        for i, sample in enumerate(samples_of(info, dtype, differentiable)):
            call = _Call(name, info, ours, sample, dtype)
            outcome = call.forward()
            if outcome is _NOT_COMPARABLE:
                continue
            measured.note("samples", outcome, f"{name} {dtype} {call.described()}")
            if differentiable and call.determined:
                measured.note("gradients", call.gradient(), f"{name} gradient {call.described()}")
            if dtype is not torch.bool:
                for kind, outcome in call.variants(i):
                    measured.note("variants", outcome, f"{name} {kind} {dtype} {call.described()}")
    for described, outcome in _errors(info, ours):
        measured.note("errors", outcome, f"{name} error {described}")
    return measured


def _errors(info: Any, ours: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """For each call that PyTorch refuses: None where torchlite raises an error of that type, else what happened."""
    if info.error_inputs_func is None:
        return
    _seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inputs = list(islice(info.error_inputs("cpu"), TAKEN))
    for error_input in inputs:
        call = _Call(full_name(info), info, ours, error_input.sample_input, None)
        yield call.described(), call.refusal(error_input.error_type)


def samples_of(info: Any, dtype: Any, requires_grad: bool) -> Iterator[Any]:
    """Sample inputs of an entry, seeded by its name: of the first 300 at most 30, evenly spaced."""
    seed = zlib.crc32(full_name(info).encode())
    _seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples = list(islice(info.sample_inputs("cpu", dtype, requires_grad=requires_grad), CONSIDERED))
    step = max(1, -(-len(samples) // TAKEN))
    yield from samples[::step]


def _named(root: Any, name: str) -> Any:
    for part in name.split("."):
        root = getattr(root, part, None)
        if root is None:
            return None
    return root


def operator_of(info: Any) -> Callable[..., Any] | None:
    """torchlite's operator of the same name: a function, else a method; None where there is neither.

    Where op_db wraps the operator in a Python function of its own (to fix or reorder arguments), that wrapper is
    run with torchlite in the place of torch.
    """
    found = _named(torchlite, info.name)
    if not callable(found):  # a dtype such as torch.cfloat, where the operator is the method
        found = getattr(torchlite.Tensor, info.name, None)
    if not callable(found) and isinstance(info.op, types.FunctionType) and "lambda" in info.op.__name__:
        parts = {"nn", "functional", "linalg", "fft", "Tensor"}
        used = [n for n in info.op.__code__.co_names if n not in parts and n not in info.op.__globals__]
        if used and all(_anywhere(n) for n in used):
            found = info.op
    if not callable(found):
        return None
    return _translated(info.op) if _from_tests(info.op) else found


def _anywhere(name: str) -> bool:
    return any(hasattr(place, name) for place in (torchlite, torchlite.Tensor, torchlite.nn.functional))


def _from_tests(function: Any) -> bool:
    return isinstance(function, types.FunctionType) and function.__module__.startswith("torch.testing")


def _translated(function: Any) -> Callable[..., Any]:
    """A function of torch's tests with torchlite in the place of torch."""
    if not _from_tests(function):
        return function
    scope = {**function.__globals__, "torch": torchlite}
    if function.__closure__ and any(c.cell_contents is torch for c in function.__closure__):
        return function
    twin = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin


_NOT_COMPARABLE = object()


class _Call:
    """One sample of an operator, called with both libraries."""

    def __init__(self, name: str, info: Any, ours: Callable[..., Any], sample: Any, dtype: Any) -> None:
        self.name, self.info, self.ours, self.sample, self.dtype = name, info, ours, sample, dtype
        self.torch_args = (sample.input, *sample.args)
        self.determined = determined(info, sample)

    def described(self) -> str:
        return f"{_short(self.torch_args)} {_short(self.sample.kwargs)}"

    def _theirs(self, function: Any, args: Any, kwargs: Any) -> Any:
        _seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **kwargs)

    def _mine(self, function: Any, args: Any, kwargs: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", UserWarning)  # the libraries' own advice
            warnings.filterwarnings("ignore", ".* encountered in ", RuntimeWarning)
            return function(*args, **kwargs)

    def forward(self) -> Any:
        """None where the results are equal, else what differs."""
        try:
            expected = self._theirs(self.info.op, _copied(self.torch_args), _copied(self.sample.kwargs))
        except Exception:  # torch itself refuses the sample
            return _NOT_COMPARABLE
        return self._compared(self.ours, expected)

    def _compared(self, function: Any, expected: Any) -> str | None:
        try:
            got = self._mine(function, converted(_copied(self.torch_args)), converted(_copied(self.sample.kwargs)))
            return self._difference(got, expected)
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:200]}"

    def variants(self, place: int) -> Iterator[tuple[str, Any]]:
        """The method, the in-place form, ``out=`` and the other names, for the first samples of an operator."""
        if place >= VARIANTS_TAKEN:
            return
        info = self.info
        takes_place = not self.sample.broadcasts_input
        if isinstance(self.sample.input, torch.Tensor):
            yield from self._variant("method", info.method_variant)
        if takes_place:
            yield from self._variant("in-place", info.inplace_variant)
        if info.supports_out and self.name not in RUBBISH_OUT:
            yield "out", self.out()
        if place >= ALIASED:
            return
        for alias in info.aliases:
            yield alias.name, self._alias(alias)
            if isinstance(self.sample.input, torch.Tensor):
                yield from self._variant(f"{alias.name} method", alias.method_variant)
            if takes_place:
                yield from self._variant(f"{alias.name} in-place", alias.inplace_variant)

    def _alias(self, alias: Any) -> Any:
        ours = _named(torchlite, alias.name.removeprefix("torch."))
        if ours is None:
            return f"torchlite has no {alias.name}"
        try:
            expected = self._theirs(alias.op, _copied(self.torch_args), _copied(self.sample.kwargs))
        except Exception:
            return _NOT_COMPARABLE
        return self._compared(ours, expected)

    def out(self) -> Any:
        """Results stored in given tensors, which the call returns; what PyTorch stores is compared."""
        args, kwargs = _copied(self.torch_args), _copied(self.sample.kwargs)
        try:
            results = self._theirs(self.info.op, args, kwargs)
            targets = mapped(results, lambda x: torch.empty_strided(x.shape, x.stride(), dtype=x.dtype))
            if not isinstance(results, torch.Tensor):
                targets = tuple(targets)
            self._theirs(self.info.op, _copied(args), {**kwargs, "out": targets})
        except Exception:
            return _NOT_COMPARABLE
        if self.determined and _differ(
            targets, results
        ):  # torch itself stores something else (ihfftn of one dimension)
            return _NOT_COMPARABLE
        mine = mapped(targets, lambda x: torchlite.full(tuple(x.shape), 1, dtype=_named_constant(x.dtype)))
        try:
            got = self._mine(self.ours, converted(_copied(args)), {**converted(_copied(kwargs)), "out": mine})
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:200]}"
        if any(a is not b for a, b in zip(tensors_in(got), tensors_in(mine), strict=True)):
            return "the call does not return what was given as out"
        return self._difference(mine, targets)

    def _difference(self, got: Any, expected: Any) -> str | None:
        # The gradients are those of op_db's own functions of the results, in which the sign does not count.
        part = determined_part.OF_FUNCTIONS.get(self.name)
        if part is not None:
            got, expected = part(*got), part(*expected)
        elif self.info.name in TIES:
            got, expected = self._named_elements(got), self._named_elements(expected)
        found = difference(got, expected, numbers=self.determined)
        return None if found is None or self._no_farther(got, expected) else found

    def _no_farther(self, got: Any, expected: Any) -> bool:
        """Whether a result in float32 is as near to torch's in float64 as torch's own is, whose rounding depends on the processor."""
        if self.dtype is not torch.float32 or not self.determined or difference(got, expected, numbers=False):
            return False
        args, kwargs = (
            mapped(_copied(x), lambda x: x.double() if x.dtype is torch.float32 else x)
            for x in (self.torch_args, self.sample.kwargs)
        )
        try:
            exact = tensors_in(self._theirs(self.info.op, args, kwargs))
        except Exception:
            return False
        ours, theirs = (
            [torch.from_numpy(x.detach().numpy().astype(np.float64)) for x in tensors_in(result)]
            for result in (got, expected)
        )
        if [(x.dtype, x.shape) for x in exact] != [(x.dtype, x.shape) for x in ours]:
            return False
        of_ours, of_theirs = ([(x - e).abs().max() for x, e in zip(of, exact, strict=True)] for of in (ours, theirs))
        return all(a <= b for a, b in zip(of_ours, of_theirs, strict=True))

    def _named_elements(self, result: Any) -> Any:
        """Positions among equal elements are a library's choice: the elements at these positions are compared."""
        *values, positions = (result,) if self.info.name == "argsort" else result
        of_torch = isinstance(positions, torch.Tensor)
        x = self.sample.input if of_torch else converted(self.sample.input.detach())
        bound = inspect.signature(getattr(torchlite, self.info.name)).bind(*self.torch_args, **self.sample.kwargs)
        dim = bound.arguments.get("dim", -1)
        if x.ndim == 0:
            return values, x
        kept = positions.ndim == x.ndim
        found = x.gather(dim, positions if kept else positions.unsqueeze(dim))
        return values, positions.dtype, found if kept else found.squeeze(dim)

    def refusal(self, kind: Any) -> Any:
        """None where both libraries raise an error of type ``kind``."""
        kind = tuple(
            RuntimeError if k is NotImplementedError else k for k in (kind if type(kind) is tuple else (kind,))
        )
        try:
            args, kwargs = _copied(self.torch_args), _copied(self.sample.kwargs)
            mine = converted(_copied(self.torch_args)), converted(_copied(self.sample.kwargs))
        except Exception:  # a sparse or quantized tensor
            return _NOT_COMPARABLE
        try:
            self._theirs(self.info.op, args, kwargs)
        except Exception:
            pass
        else:
            return _NOT_COMPARABLE
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                got = self.ours(*mine[0], **mine[1])
        except kind:
            return None
        except Exception as error:
            return f"{type(error).__name__} instead of {_names(kind)}: {str(error)[:160]}"
        return f"no error, {_names(kind)} expected; gave {_short(got)[:80]}"

    def _variant(self, kind: str, variant: Any) -> Iterator[tuple[str, Any]]:
        if variant is None:
            return
        args, kwargs = _copied(self.torch_args), _copied(self.sample.kwargs)
        try:
            expected = self._theirs(variant, args, kwargs)
        except Exception:
            return
        name = getattr(variant, "__name__", self.info.name)
        if isinstance(variant, functools.partial):  # a function with inplace=True
            ours: Any = functools.partial(self.ours, *variant.args, **variant.keywords)
        else:
            ours = _translated(variant) if _from_tests(variant) else getattr(torchlite.Tensor, name, None)
        if ours is None:
            yield kind, f"Tensor has no {name}"
        else:
            yield kind, self._compared(ours, expected)

    def gradient(self) -> Any:
        """None where the gradients for a random cotangent are equal, else what differs."""
        theirs = _with_gradients(self.torch_args, self.sample.kwargs)
        leaves = [x for x in tensors_in(theirs) if x.requires_grad]
        process = self.sample.output_process_fn_grad
        try:
            outputs = self._theirs(self._as_checked(self.info.op), *theirs)
            outputs = [y for y in tensors_in(process(outputs)) if y.requires_grad]
            if not leaves or not outputs:
                return _NOT_COMPARABLE
            rng = np.random.default_rng(0)
            cotangents = [torch.from_numpy(np.asarray(_cotangent(rng, y))).to(y.dtype) for y in outputs]
            expected = torch.autograd.grad(outputs, leaves, cotangents, allow_unused=True)
        except Exception:
            return _NOT_COMPARABLE
        try:
            ours = converted(theirs)
            inputs = [x for x in tensors_in(ours) if x.requires_grad]
            results = self._mine(self._as_checked(self.ours), *ours)
            results = [y for y in tensors_in(_translated(process)(results)) if y.requires_grad]
            if len(results) != len(outputs):
                return f"{len(results)} differentiable results instead of {len(outputs)}"
            got = self._mine(torchlite.autograd.grad, (results, inputs, converted(cotangents)), {"allow_unused": True})
            pairs = zip(got, expected, leaves, strict=True)
            return difference(
                [x.new_zeros(x.shape) if g is None else g for g, x in zip(got, inputs, strict=True)],
                [torch.zeros_like(x) if e is None else e for _, e, x in pairs],
            )
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:200]}"

    def _as_checked(self, function: Any) -> Any:
        """``function`` of the triangle of its input where op_db's own gradient checks take that.

        PyTorch's gradient of a Cholesky factor has numbers in the other half too, which is never read.
        """
        wrapper = self.info.gradcheck_wrapper
        if not any("triangular" in name for name in (wrapper.__name__, *wrapper.__code__.co_names)):
            return function
        return functools.partial(_translated(wrapper) if function is self.ours else wrapper, function)


def _names(kinds: tuple[type, ...]) -> str:
    return " or ".join(kind.__name__ for kind in kinds)


def _differ(some: Any, others: Any) -> bool:
    """Whether results of torch are not the same numbers."""
    return any(
        not torch.equal(a.nan_to_num(), b.nan_to_num())
        for a, b in zip(tensors_in(some), tensors_in(others), strict=True)
    )


def _cotangent(rng: np.random.Generator, y: Any) -> Any:
    drawn = rng.normal(size=tuple(y.shape))
    return drawn + 1j * rng.normal(size=tuple(y.shape)) if y.is_complex() else drawn


def _copied(value: Any) -> Any:
    """The same arguments in memory of their own, so that no call disturbs another."""
    return mapped(value, lambda x: x.detach().clone())


def _with_gradients(*values: Any) -> Any:
    return mapped(values, lambda x: x.detach().clone().requires_grad_(x.requires_grad))


def converted(value: Any) -> Any:
    """Arguments of torch as arguments of torchlite."""
    return mapped(value, _as_ours, _named_constant)


def _as_ours(x: Any) -> Any:
    if x.layout is not torch.strided:
        raise TypeError("sparse")
    plain = x.detach().resolve_conj().resolve_neg()
    halved = x.dtype is torch.bfloat16  # NumPy has none
    own = torchlite.from_numpy(np.array((plain.float() if halved else plain).numpy(), order="K", copy=True))
    own = own.bfloat16() if halved else own
    return own.requires_grad_(x.requires_grad)


def _named_constant(value: Any) -> Any:
    if isinstance(value, torch.layout) and value is not torch.strided:
        raise TypeError("sparse")
    if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
        return getattr(torchlite, str(value).removeprefix("torch."), None)
    if isinstance(value, torch.device):
        return str(value)
    if type(value).__module__.startswith("torch.nn."):  # a module or options
        settings = {f.name: getattr(value, f.name) for f in fields(value)} if is_dataclass(value) else {}
        return getattr(torchlite.nn, type(value).__name__)(**settings)
    return _translated(value)


def mapped(value: Any, tensor: Callable[[Any], Any], other: Callable[[Any], Any] = lambda v: v) -> Any:
    """A nested structure with a function applied to its tensors and one to everything else."""
    if isinstance(value, torch.Tensor | torchlite.Tensor):
        return tensor(value)
    if type(value) in (list, tuple, torch.Size):
        kind = list if type(value) is list else tuple
        return kind(mapped(v, tensor, other) for v in value)
    if type(value) is dict:
        return {k: mapped(v, tensor, other) for k, v in value.items()}
    return other(value)


def tensors_in(value: Any) -> list[Any]:
    """The tensors of a nested structure, in order."""
    if isinstance(value, torch.Tensor | torchlite.Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    return [x for v in value for x in tensors_in(v)] if isinstance(value, list | tuple | type({}.values())) else []


def difference(got: Any, expected: Any, *, numbers: bool = True) -> str | None:
    """What differs between a result of torchlite and torch's, None where nothing does."""
    if isinstance(expected, torch.Tensor):
        if not isinstance(got, torchlite.Tensor):
            return f"got {type(got).__name__} instead of a tensor"
        if tuple(got.shape) != tuple(expected.shape):
            return f"shape {tuple(got.shape)} instead of {tuple(expected.shape)}"
        if str(got.dtype) != str(expected.dtype):
            return f"{got.dtype} instead of {expected.dtype}"
        if not numbers:
            return None
        theirs = expected.detach().resolve_conj().resolve_neg()
        array = np.array((got.float() if expected.dtype is torch.bfloat16 else got).detach().numpy(), copy=True)
        ours = torch.from_numpy(array).to(expected.dtype)
        try:
            torch.testing.assert_close(ours, theirs, equal_nan=True)
        except AssertionError as error:
            return " ".join(str(error).split())[:160]
        return None
    if isinstance(expected, list | tuple):
        if not isinstance(got, list | tuple) or len(got) != len(expected):
            return f"got {type(got).__name__} instead of {len(expected)} values"
        found = (difference(g, e, numbers=numbers) for g, e in zip(got, expected, strict=True))
        return next((f for f in found if f), None)
    if isinstance(expected, torch.dtype):
        return None if str(got) == str(expected) else f"{got} instead of {expected}"
    if type(expected) is builtins.float:
        return None if np.isclose(got, expected, equal_nan=True) else f"{got} instead of {expected}"
    return None if got == expected else f"{got!r} instead of {expected!r}"


def _short(value: Any) -> str:
    described = mapped(value, lambda x: f"{str(x.dtype)[6:]}{list(x.shape)}")
    return str(described).replace("'", "")[:160]
