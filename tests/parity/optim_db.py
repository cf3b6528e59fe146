"""PyTorch's optimizer database against torchlite: each configuration side by side with PyTorch for fifty steps.

Every entry (``OptimizerInfo``) of ``optim_db`` knows the configurations of its optimizer that matter and those that are
refused. Each runs on a small problem in float64, on its complex form where complex parameters are supported, and as
``foreach``, ``fused`` and ``capturable`` where those exist; PyTorch refuses ``capturable`` on a CPU, so it runs without.

Importing this skips the importing test module where torch is not installed.
"""

import json
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracle import OUR_ERRORS, torch

import torchlite

pytest.importorskip("expecttest")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's test machinery uses what torch deprecates
    from torch.testing._internal.common_optimizers import OptimizerErrorEnum, optim_db

RECORD = Path(__file__).with_name("optim_db_counts.json")
STEPS, LBFGS_ITERATIONS, TOLERANCE = 50, 2, 1e-6
"""LBFGS makes so many iterations a step: beyond a hundred, PyTorch differs as much from itself after a last bit changes."""

BEFORE, AFTER = 3, 5
"""Steps before and after a state goes from one library to the other; of LBFGS only two come after."""

OPTIMIZERS = {info.optim_cls.__name__: info for info in optim_db}
ABSENT = {"SparseAdam": "takes sparse gradients only, and there are no sparse tensors"}


@dataclass
class Counts:
    """How many comparisons of one optimizer came out equal, of how many."""

    steps: int = 0
    of_steps: int = 0
    states: int = 0
    of_states: int = 0
    gradients: int = 0
    of_gradients: int = 0
    errors: int = 0
    of_errors: int = 0

    def row(self) -> list[int]:
        return [getattr(self, field.name) for field in fields(self)]


@dataclass
class Measured:
    """The counts of one optimizer and the differences found."""

    counts: Counts = field(default_factory=Counts)
    differences: list[str] = field(default_factory=list)

    def compare(self, what: str, described: str, comparison: Callable[[], None]) -> None:
        """Count one comparison, which raises where something differs."""
        setattr(self.counts, f"of_{what}", getattr(self.counts, f"of_{what}") + 1)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                comparison()
        except Exception as difference:
            self.differences.append(f"{described}: {type(difference).__name__}: {difference}")
        else:
            setattr(self.counts, what, getattr(self.counts, what) + 1)


def recorded() -> dict[str, list[int]]:
    counts: dict[str, list[int]] = json.loads(RECORD.read_text())
    return counts


def measure(name: str) -> Measured:
    """Compare everything that the database says of one optimizer."""
    info, measured = OPTIMIZERS[name], Measured()
    for described, ours, theirs, is_complex in configurations(info):
        measured.compare("steps", described, lambda: _follows(name, ours, theirs, is_complex))  # noqa: B023
        if ours is theirs and not ours.keys() & {"foreach", "fused"}:
            measured.compare("states", f"{described}, keys", lambda: _same_keys(name, ours, is_complex))  # noqa: B023
            for source in (torchlite, torch):
                text = f"{described}, state from {source.__name__}"
                measured.compare("states", text, lambda: _carried_over(name, ours, is_complex, source))  # noqa: B023
            if "differentiable" in info.supported_impls:
                measured.compare("gradients", described, lambda: _same_gradients(name, ours, is_complex))  # noqa: B023
    for case in info.optim_error_inputs_func(device="cpu", dtype=torch.float64):
        measured.compare("errors", case.optimizer_error_input.desc, lambda: _refused(name, case))  # noqa: B023
    return measured


def configurations(info: Any) -> Iterator[tuple[str, dict[str, Any], dict[str, Any], bool]]:
    """What is run: a description, torchlite's arguments, PyTorch's, and whether the parameters are complex."""
    plain = info.optim_inputs_func(device="cpu", dtype=torch.float64)
    for case in plain:
        yield case.desc, case.kwargs, case.kwargs, False
        if info.supports_complex:
            yield f"{case.desc}, complex", case.kwargs, case.kwargs, True
        for implementation in ("foreach", "fused"):
            exists = implementation in info.supported_impls and (implementation != "fused" or info.supports_fused_on)
            if exists and not any(isinstance(v, torch.Tensor) for v in case.kwargs.values()):
                arguments = {**case.kwargs, implementation: True}
                yield f"{case.desc}, {implementation}", arguments, arguments, False
    for case in info.optim_inputs_func(device="cuda", dtype=torch.float64):
        if case.kwargs.get("capturable"):
            theirs = {k: v for k, v in case.kwargs.items() if k != "capturable"}
            yield f"{case.desc}", case.kwargs, theirs, False


def converted(library: Any, value: Any, made: dict[int, Any] | None = None) -> Any:
    """Arguments, parameters or a state with their tensors in ``library``; what was one tensor stays one."""
    made = {} if made is None else made
    if isinstance(value, dict):
        return {k: converted(library, v, made) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(converted(library, v, made) for v in value)
    if not isinstance(value, (torch.Tensor, torchlite.Tensor)) or isinstance(value, library.Tensor):
        return value
    if id(value) not in made:
        result = library.tensor(np.array(value.detach().numpy()))
        made[id(value)] = library.nn.Parameter(result) if isinstance(value, torch.nn.Parameter) else result
    return made[id(value)]


class Problem:
    """Pseudo-Huber regression; the last parameter gets no gradient.

    It is convex with bounded gradients, so that rounding errors stay small even where an optimizer climbs. Loss and
    gradients are computed in NumPy: only the optimizers can differ. For Muon all parameters are matrices; for LBFGS,
    whose first steps are very long where a loss is nearly linear, the loss is the mean square.
    """

    def __init__(self, library: Any, name: str, options: dict[str, Any], is_complex: bool) -> None:
        rng = np.random.default_rng(3)

        def draw(*shape: int) -> Any:
            x = rng.normal(size=shape)
            return x + 1j * rng.normal(size=shape) if is_complex else x

        self.library, self.squares = library, name == "LBFGS"
        self.x, self.z, self.y = draw(24, 3), draw(24, 2), draw(24, 2)
        shapes = [(2, 3), (2, 2), (1, 2), (2, 2)] if name == "Muon" else [(2, 3), (2, 2), (2,), (2,)]
        self.parameters = [library.tensor(draw(*shape), requires_grad=True) for shape in shapes]
        self.optimizer = getattr(library.optim, name)(self.parameters, **converted(library, options))

    def gradients(self) -> float:
        """The mean of √(1 + |e|²), or of |e|², for e = x Aᵀ + z Bᵀ + c - y, with its gradients in the parameters."""
        a, b, c, _ = self.numbers()
        error = self.x @ a.T + self.z @ b.T + c - self.y
        losses = abs(error) ** 2 if self.squares else np.sqrt(1 + abs(error) ** 2)
        of_error = (2 * error if self.squares else error / losses) / error.size
        gradients = of_error.T @ self.x.conj(), of_error.T @ self.z.conj(), of_error.sum(0).reshape(c.shape)
        for parameter, gradient in zip(self.parameters, gradients, strict=False):
            parameter.grad = self.library.from_numpy(gradient)
        return float(losses.mean())

    def steps(self, number: int) -> None:
        for _ in range(number):
            self.optimizer.step(self.gradients)

    def numbers(self) -> list[Any]:
        return [p.detach().numpy() for p in self.parameters]

    def take(self, other: "Problem") -> None:
        """Parameters and state of the same problem in the other library."""
        for mine, its in zip(self.numbers(), other.numbers(), strict=True):
            mine[...] = its
        self.optimizer.load_state_dict(converted(self.library, other.optimizer.state_dict()))


def _close(ours: list[Any], theirs: list[Any], when: str) -> None:
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, err_msg=f"parameter {i}, {when}")


def _follows(name: str, our_options: dict[str, Any], their_options: dict[str, Any], is_complex: bool) -> None:
    if name == "LBFGS":
        our_options, their_options = ({**o, "max_iter": LBFGS_ITERATIONS} for o in (our_options, their_options))
    ours = Problem(torchlite, name, our_options, is_complex)
    theirs = Problem(torch, name, their_options, is_complex)
    if "capturable" in our_options:  # then the number of steps takes part in the arithmetic, as a tensor
        ours.optimizer.register_step_pre_hook(_widen_counters)
    for step in range(STEPS):
        ours.steps(1)
        theirs.steps(1)
        _close(ours.numbers(), theirs.numbers(), f"step {step + 1}")


def _widen_counters(optimizer: Any, _args: Any, _kwargs: Any) -> None:
    for state in optimizer.state.values():
        for name in state.keys() & set(optimizer.counters):
            state[name] = state[name].double()


def _same_keys(name: str, options: dict[str, Any], is_complex: bool) -> None:
    ours, theirs = (Problem(library, name, options, is_complex) for library in (torchlite, torch))
    assert list(ours.optimizer.defaults) == list(theirs.optimizer.defaults)
    ours.steps(2)
    theirs.steps(2)
    _same_structure(ours.optimizer.state_dict(), theirs.optimizer.state_dict())


def _same_structure(ours: Any, theirs: Any, where: str = "state_dict") -> None:
    """The same keys and lengths, shapes, dtypes and types, at every depth; numbers are the matter of other comparisons."""
    if isinstance(theirs, torch.Tensor):
        if isinstance(ours, float) and theirs.ndim == 0:
            return  # the lengths of LBFGS's steps: either kind is loaded by either library
        described = [(tuple(x.shape), str(x.dtype), x.requires_grad) for x in (ours, theirs)]
        assert described[0] == described[1], f"{where}: {described}"
    elif isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), f"{where}: {list(ours)} != {list(theirs)}"
        for key in theirs:
            _same_structure(ours[key], theirs[key], f"{where}[{key!r}]")
    elif isinstance(theirs, (list, tuple)):
        assert type(ours) is type(theirs) and len(ours) == len(theirs), f"{where}: {ours} != {theirs}"
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            _same_structure(a, b, f"{where}[{i}]")
    else:
        assert type(ours) is type(theirs), f"{where}: {ours!r} != {theirs!r}"


def _carried_over(name: str, options: dict[str, Any], is_complex: bool, source: Any) -> None:
    other = torch if source is torchlite else torchlite
    begun = Problem(source, name, options, is_complex)
    begun.steps(BEFORE)
    continued = Problem(other, name, {"lr": 0.7}, is_complex)
    continued.take(begun)
    for step in range(2 if name == "LBFGS" else AFTER):
        begun.steps(1)
        continued.steps(1)
        _close(continued.numbers(), begun.numbers(), f"step {step + 1} after loading")


def _same_gradients(name: str, options: dict[str, Any], is_complex: bool) -> None:
    """Of what a step makes of a parameter and its state, by what they and the gradient were."""
    begun = Problem(torch, name, options, is_complex)
    begun.steps(BEFORE)
    param = begun.parameters[0]
    inputs = {"param": param, "grad": param.grad} | begun.optimizer.state[param]
    ours, theirs = (_gradients_through_a_step(L, name, options, inputs) for L in (torchlite, torch))
    for key in theirs:
        np.testing.assert_allclose(ours[key], theirs[key], rtol=TOLERANCE, atol=TOLERANCE, err_msg=key)


def _gradients_through_a_step(
    library: Any, name: str, options: dict[str, Any], inputs: dict[str, Any]
) -> dict[str, Any]:
    """Counters, the inputs without dimensions, come in float64: in this mode PyTorch calculates with them as tensors."""
    arrays = {key: np.array(x.detach().numpy()) for key, x in inputs.items()}
    inputs = {key: library.tensor(a if a.ndim else a.astype(np.float64)) for key, a in arrays.items()}
    wanted = {key: x.requires_grad_() for key, x in inputs.items() if x.ndim}
    param = wanted["param"].clone()
    param.grad = wanted["grad"]
    options = converted(library, {**options, "differentiable": True})
    optimizer = getattr(library.optim, name)([param], **options)
    state = {key: inputs[key].clone() for key in inputs.keys() - {"param", "grad"}}
    optimizer.state[param].update(state)
    optimizer.step()
    results = [param, *(state[key] for key in sorted(state) if state[key].ndim)]
    rng = np.random.default_rng(4)
    total = sum((library.view_as_real(x) if x.is_complex() else x).mul(rng.normal()).sum() for x in results)
    total.backward()
    return {key: np.zeros(x.shape) if x.grad is None else x.grad.numpy() for key, x in wanted.items()}


def _refused(name: str, case: Any) -> None:
    """PyTorch's error comes at the same place, with its type and text."""
    given = case.optimizer_error_input
    params = [torch.nn.Parameter(torch.ones(2, 2, dtype=torch.float64))] if given.params is None else given.params
    expected = OUR_ERRORS.get(case.error_type, case.error_type)
    make = getattr(torchlite.optim, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            optimizer = make(converted(torchlite, params), **converted(torchlite, given.kwargs))
            assert case.error_on is OptimizerErrorEnum.STEP_ERROR, "nothing was refused"
            for param in optimizer.param_groups[0]["params"]:
                param.grad = torchlite.ones_like(param)
            optimizer.step()
    except (Exception, Warning) as error:
        assert isinstance(error, expected), f"{error!r} is no {expected.__name__}"
        assert re.search(case.error_regex, str(error)), f"{str(error)!r} does not match {case.error_regex!r}"
    else:
        raise AssertionError("nothing was refused")
