"""The base of all optimizers: parameter groups, state, hooks, and the step over all parameters."""

from __future__ import annotations

import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Set
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import enable_grad, no_grad, set_grad_enabled
from torchlite.autograd.hooks import RemovableHandle
from torchlite.optim.hooks import (
    Hooks,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
    with_hooks,
)
from torchlite.optim.options import Interval, Options, check_options, resolved
from torchlite.optim.pack import Pack, counter, packs

__all__ = ["Optimizer", "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook", "required"]


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()
"""The default of a hyper-parameter that every group must set."""

_NEUTRAL: Options = {
    "momentum": 0, "nesterov": False, "amsgrad": False, "centered": False, "maximize": False, "foreach": None,
    "capturable": False, "differentiable": False, "fused": None, "decoupled_weight_decay": False,
}  # fmt: skip
"""What hyper-parameters do that a state saved by an older version of PyTorch does not mention: nothing."""


class Optimizer:
    """Updates parameters from their gradients.

    A subclass gives its hyper-parameters as ``defaults`` and defines `init` and `update`, or `step` as a whole.

    Args:
        params: parameters, (name, parameter) pairs, or dicts with "params" and hyper-parameters of their own.
        defaults: hyper-parameters of the groups that do not set them.

    Raises:
        ValueError: for no parameters, a parameter in two groups, or a hyper-parameter out of range.
        TypeError: for something that is not a tensor.
    """

    ranges: ClassVar[dict[str, Interval]] = {}
    """The hyper-parameters that must lie in an interval."""

    counters: ClassVar[tuple[str, ...]] = ()
    """The names in the state that are numbers, kept as 0-d tensors."""

    needs_closure: ClassVar[bool] = False
    """Whether `step` can't do without a closure."""

    state: defaultdict[Tensor, Any]
    param_groups: list[dict[str, Any]]

    def __init_subclass__(cls) -> None:
        if "step" in cls.__dict__:
            cls.step = with_hooks(cls.step)  # type: ignore[method-assign]

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        check_options(type(self).__name__, defaults, self.ranges)
        self._begin_without_hooks()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got a Tensor"
            )
        self.defaults = defaults
        self.state = defaultdict(dict)
        self.param_groups = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _begin_without_hooks(self) -> None:
        self._optimizer_step_pre_hooks: Hooks = OrderedDict()
        self._optimizer_step_post_hooks: Hooks = OrderedDict()
        self._optimizer_state_dict_pre_hooks: Hooks = OrderedDict()
        self._optimizer_state_dict_post_hooks: Hooks = OrderedDict()
        self._optimizer_load_state_dict_pre_hooks: Hooks = OrderedDict()
        self._optimizer_load_state_dict_post_hooks: Hooks = OrderedDict()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with hyper-parameters of their own; what is not given is the default."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params, names = _separated(param_group["params"])
        param_group["params"] = params
        if names:
            param_group["param_names"] = names
        for param in params:
            self._check_param(param)
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        if len(params) != len(set(params)):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; each is updated several times a step",
                stacklevel=3,
            )
        for group in self.param_groups:
            if ("param_names" in param_group) != ("param_names" in group):
                kind = "with" if "param_names" in param_group else "without"
                raise ValueError(
                    "all optimizer param groups should be with/without names. "
                    f"cannot add param group {kind} names to the optimizer"
                )
            if not set(group["params"]).isdisjoint(params):
                raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    def _check_param(self, param: Any) -> None:
        if not isinstance(param, Tensor):
            raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(param).__name__}")
        if not (self.defaults.get("differentiable") or param.is_leaf or param.retains_grad):
            raise ValueError("can't optimize a non-leaf Tensor")

    if TYPE_CHECKING:

        def update(self, pack: Pack, options: Options) -> None:
            """Change the parameters of a pack in place; every optimizer without a `step` of its own defines it."""

    def init(self, param: Tensor, group: Options) -> dict[str, Tensor]:  # noqa: ARG002 - for those that keep something
        """The state of a parameter before its first step."""
        return {}

    @with_hooks
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss again and returns it, with gradients recorded.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with set_grad_enabled(bool(self.defaults.get("differentiable"))):
            for group in self.param_groups:
                params = [p for p in group["params"] if p.grad is not None]
                states = [self.state[p] for p in params]
                for param, state in zip(params, states, strict=True):
                    if not state:
                        state.update(self.init(param, group))
                options = resolved(group)
                for pack in packs(params, states, self.counters, options):
                    self.update(pack, options)
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

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before every step; it may return new (args, kwargs)."""
        return RemovableHandle(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after every step."""
        return RemovableHandle(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` before `state_dict`."""
        return RemovableHandle(self._optimizer_state_dict_pre_hooks, hook, prepend=prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` after `state_dict`; what it returns replaces the result."""
        return RemovableHandle(self._optimizer_state_dict_post_hooks, hook, prepend=prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` before `load_state_dict`; what it returns is loaded instead."""
        return RemovableHandle(self._optimizer_load_state_dict_pre_hooks, hook, prepend=prepend)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` after `load_state_dict`."""
        return RemovableHandle(self._optimizer_load_state_dict_post_hooks, hook, prepend=prepend)

    def state_dict(self) -> dict[str, Any]:
        """State and groups with parameters numbered in order, as PyTorch saves them; tensors are not copied."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[Any, int] = {}
        groups = []
        count = 0
        for group in self.param_groups:
            for number, param in enumerate(group["params"], count):
                numbers.setdefault(param, number)
            count += len(group["params"])
            kept = {name: value for name, value in group.items() if name != "params"}
            groups.append({**kept, "params": [numbers[p] for p in group["params"]]})
        state = {numbers[k] if isinstance(k, Tensor) else k: v for k, v in self.state.items() if not _is_empty(v)}
        result: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            changed = hook(self, result)
            result = result if changed is None else changed
        return result

    @no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state, ours or PyTorch's; tensors are copied and take the dtype and device of their parameter.

        Raises:
            ValueError: when the number of groups or of parameters in a group differs; then nothing has been changed.
        """
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        saved = deepcopy(state_dict["param_groups"])
        self._check_groups(saved)
        owners: dict[Hashable, tuple[Tensor, Options]] = {}
        for mine, theirs in zip(self.param_groups, saved, strict=True):
            owners.update({k: (p, theirs) for k, p in zip(theirs["params"], mine["params"], strict=True)})
            del theirs["params"]
            if "param_names" in mine:
                theirs.setdefault("param_names", mine["param_names"])
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in owners:
                param, group = owners[key]
                state[param] = _like_parameter(param, group, {"step", *self.counters}, value)
            else:
                state[key] = value
        groups = [{"params": mine["params"], **theirs} for mine, theirs in zip(self.param_groups, saved, strict=True)]
        self.__setstate__({"state": state, "param_groups": groups})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def _check_groups(self, saved: list[dict[str, Any]]) -> None:
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

    def _changing_numbers(self) -> list[tuple[dict[str, Any], Any]]:
        """For a captured step: where Python numbers are that change from step to step, and under which keys."""
        return [(group, ("lr",)) for group in self.param_groups]

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_optimizer_step_pre_hooks" not in self.__dict__:
            self._begin_without_hooks()
        for group in self.param_groups:
            for name in self.defaults.keys() & _NEUTRAL.keys():
                group.setdefault(name, _NEUTRAL[name])
            for param in group["params"]:
                mine = self.state.get(param, {})
                for name in self.counters:  # numbers in states of older versions
                    if name in mine and not isinstance(mine[name], Tensor):
                        mine[name] = counter(param, group, mine[name])

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])


def _separated(given: Any) -> tuple[list[Any], list[str]]:
    """Parameters and their names, where they have any."""
    if isinstance(given, Tensor):
        return [given], []
    if isinstance(given, set):
        raise TypeError(
            "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
            "will change between runs. Please use a list instead."
        )
    items = list(given)
    names = [item[0] for item in items if isinstance(item, tuple)]
    if names and len(names) != len(items):
        raise ValueError("all optimizer params should be with/without names. Some param names are missing")
    return [item[1] if isinstance(item, tuple) else item for item in items], names


def _is_empty(value: Any) -> bool:
    return isinstance(value, dict) and not value


def _like_parameter(param: Tensor, group: Options, counters: Set[str], value: Any, name: Hashable = None) -> Any:
    """A copy of a piece of saved state, at any depth, as the parameter it belongs to needs it."""
    if isinstance(value, Tensor):
        value = value.detach()
        if name in counters:  # their precision does not follow the parameter's
            on_device = group.get("capturable") or group.get("fused")
            return (value.to(param.device).float() if on_device else value).clone()
        return value.to(device=param.device, dtype=param.dtype if param.is_floating_point() else value.dtype).clone()
    if isinstance(value, dict):
        return {k: _like_parameter(param, group, counters, v, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_like_parameter(param, group, counters, v) for v in value)
    return deepcopy(value)
