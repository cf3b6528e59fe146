"""The base of all optimizers: parameter groups, state, and the step over all parameters."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import enable_grad, no_grad
from torchlite.autograd.hooks import RemovableHandle
from torchlite.devices import CPU

_BLOCK = 1 << 16


class Optimizer:
    """Updates parameters from their gradients.

    A subclass gives its hyper-parameters as ``defaults`` and defines `update` for one parameter.

    Args:
        params: parameters, (name, parameter) pairs, or dicts with "params" and hyper-parameters of their own.
        defaults: hyper-parameters of the groups that do not set them.

    Raises:
        ValueError: for no parameters, a parameter in two groups, or a hyper-parameter out of range.
        TypeError: for something that is not a tensor.
    """

    ranges: ClassVar[dict[str, tuple[float, float]]] = {}
    """For each hyper-parameter the smallest value allowed and the first too large."""

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._step_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._step_post_hooks: OrderedDict[int, Any] = OrderedDict()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got a Tensor"
            )
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with hyper-parameters of their own; what is not given is the default."""
        group = dict(param_group)
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        if params and isinstance(params[0], tuple):
            group["param_names"] = [name for name, _ in params]
            params = [p for _, p in params]
        taken = {id(p) for g in self.param_groups for p in g["params"]}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
            if id(p) in taken:
                raise ValueError("some parameters appear in more than one parameter group")
            taken.add(id(p))
        group["params"] = params
        for name, value in self.defaults.items():
            group.setdefault(name, value)
        self._check(group)
        self.param_groups.append(group)

    def _check(self, group: dict[str, Any]) -> None:
        for name, (low, high) in self.ranges.items():
            values = group[name] if isinstance(group[name], (tuple, list)) else [group[name]]
            for value in values:
                if not low <= value < high:
                    limit = "" if high == float("inf") else f" and below {high:g}"
                    raise ValueError(f"{type(self).__name__}: {name} must be at least {low:g}{limit}, got {value}")

    if TYPE_CHECKING:

        def update(self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
            """Change one parameter in place; every optimizer defines it."""

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss again and returns it, with gradients recorded.
        """
        for hook in tuple(self._step_pre_hooks.values()):
            hook(self, (closure,), {})
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                grad = param.grad
                if grad is not None:
                    self.update(param, grad, self.state[param], group)
        for hook in tuple(self._step_post_hooks.values()):
            hook(self, (closure,), {})
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget (or set to 0) the gradients of all parameters."""
        with no_grad():
            for group in self.param_groups:
                for param in group["params"]:
                    if set_to_none or param.grad is None:
                        param.grad = None
                    else:
                        param.grad.detach_().zero_()

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> Any:
        """Call ``hook(optimizer, args, kwargs)`` before every step."""
        return RemovableHandle(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> Any:
        """Call ``hook(optimizer, args, kwargs)`` after every step."""
        return RemovableHandle(self._step_post_hooks, hook)

    def state_dict(self) -> dict[str, Any]:
        """State and groups with parameters numbered in order, as PyTorch saves them."""
        numbers = {p: i for i, p in enumerate(p for g in self.param_groups for p in g["params"])}
        groups = [
            {**{k: v for k, v in g.items() if k != "params"}, "params": [numbers[p] for p in g["params"]]}
            for g in self.param_groups
        ]
        return {
            "state": {numbers[p]: dict(s) for p, s in self.state.items() if s and p in numbers},
            "param_groups": groups,
        }

    @no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state; tensors take the dtype and device of their parameter.

        Raises:
            ValueError: when the number of groups or of parameters in a group differs; then nothing has been changed.
        """
        saved = state_dict["param_groups"]
        if len(saved) != len(self.param_groups):
            raise ValueError(
                f"loaded state dict has a different number of parameter groups: {len(saved)}, expected {len(self.param_groups)}"
            )
        for mine, theirs in zip(self.param_groups, saved, strict=True):
            if len(mine["params"]) != len(theirs["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: "
                    f"{len(theirs['params'])} parameters, expected {len(mine['params'])}"
                )
        by_number = {
            number: param
            for mine, theirs in zip(self.param_groups, saved, strict=True)
            for number, param in zip(theirs["params"], mine["params"], strict=True)
        }
        self.state = defaultdict(dict)
        for number, values in state_dict["state"].items():
            param = by_number[number]
            self.state[param] = {name: _like_parameter(name, value, param) for name, value in values.items()}
        for mine, theirs in zip(self.param_groups, saved, strict=True):
            mine.update({k: deepcopy(v) for k, v in theirs.items() if k != "params"})

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {k}: {group[k]}" for k in sorted(group) if k != "params"]
        return "\n".join([*lines, ")"])


def cache_blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors of one shape in parts that stay in the processor's cache while a rule passes over them several times.

    Together on a GPU, on ``meta`` and where one of them is not contiguous.
    """
    if tensors[0].numel() <= 2 * _BLOCK or not all(x.device == CPU and x.is_contiguous() for x in tensors):
        return iter([tensors])
    return zip(*(x.detach().view(-1).split(_BLOCK) for x in tensors), strict=True)


def _like_parameter(name: str, value: Any, param: Tensor) -> Any:
    if not isinstance(value, Tensor):
        return deepcopy(value)
    if name == "step":  # a count: its precision does not follow the parameter's
        return value.detach().clone()
    dtype = param.dtype if param.is_floating_point() else value.dtype
    return value.detach().to(device=param.device, dtype=dtype).clone()
