"""Modules as dictionaries of tensors: saving and loading."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.autograd.hooks import Hooks, RemovableHandle
from torchlite.parameter import Parameter, is_lazy

EXTRA_STATE = "_extra_state"


class IncompatibleKeys(NamedTuple):
    """What did not match in `Module.load_state_dict`."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class PublicHook(NamedTuple):
    """A hook of the documented form; one of the older form, which works otherwise, is kept as the function it is."""

    function: Callable[..., Any]


class _Loading(threading.local):
    """What a load that is under way in this thread will do when nothing speaks against it; None for at once."""

    actions: list[Callable[[], str | None]] | None = None


_loading = _Loading()


class ModuleState:
    """What a module offers to save and load what it owns."""

    _version: ClassVar[int] = 1
    """Goes into the metadata of the state; a class whose state changes its form counts it up."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Any]
    _non_persistent_buffers_set: set[str]
    _state_dict_pre_hooks: Hooks
    _state_dict_hooks: Hooks
    _load_state_dict_pre_hooks: Hooks
    _load_state_dict_post_hooks: Hooks

    if TYPE_CHECKING:

        def modules(self) -> Iterator[Any]:
            """This module and all below it."""

    def get_extra_state(self) -> Any:
        """What besides tensors belongs into the state; to be overridden together with `set_extra_state`."""
        raise RuntimeError(f"{type(self).__name__} has no extra state: override get_extra_state to give it one")

    def set_extra_state(self, state: Any) -> None:  # noqa: ARG002 - the signature of those that override it
        """Take back what `get_extra_state` gave."""
        raise RuntimeError(f"{type(self).__name__} has no extra state: override set_extra_state to load one")

    def _has_extra_state(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(ModuleState, method)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before this module's state is gathered."""
        return RemovableHandle(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` when this module's state has been gathered.

        The hook changes the state in place and returns None.
        """
        return RemovableHandle(self._state_dict_hooks, PublicHook(hook))

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """The older form, whose hooks may return another state; programs use it although it is private."""
        return RemovableHandle(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, metadata, strict, missing, unexpected, errors)`` before loading."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> RemovableHandle:
        """The older form, whose hooks do not get the module; programs use it although it is private."""
        return RemovableHandle(self._load_state_dict_pre_hooks, PublicHook(hook) if with_module else hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after loading; it may change the lists of keys in place."""
        return RemovableHandle(self._load_state_dict_post_hooks, hook)

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> OrderedDict[str, Any]:
        """All parameters and persistent buffers by name; the tensors share memory with the module's.

        Args:
            args: destination, prefix and keep_vars by position; deprecated.
            destination: an OrderedDict to fill.
            prefix: what all names begin with.
            keep_vars: give the parameters themselves and not their detached values.
        """
        if args:
            warnings.warn(
                "Positional args are being deprecated, use kwargs instead: state_dict(destination=, prefix=, keep_vars=)",
                FutureWarning,
                stacklevel=2,
            )
            named = dict(zip(("destination", "prefix", "keep_vars"), args, strict=False))
            options = {"destination": destination, "prefix": prefix, "keep_vars": keep_vars, **named}
            return self.state_dict(**options)
        state: Any = OrderedDict() if destination is None else destination
        if destination is None:
            state._metadata = OrderedDict()
        local_metadata = {"version": self._version}
        if hasattr(state, "_metadata"):
            state._metadata[prefix[:-1]] = local_metadata
        for hook in tuple(self._state_dict_pre_hooks.values()):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(state, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=state, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in tuple(self._state_dict_hooks.values()):
            is_public = type(hook) is PublicHook
            replaced = (hook.function if is_public else hook)(self, state, prefix, local_metadata)
            if replaced is not None and is_public:
                raise RuntimeError("state_dict post-hook must return None")
            state = state if replaced is None else replaced
        return state

    def _persistent(self) -> dict[str, Tensor]:
        """The module's own parameters and persistent buffers."""
        buffers = {name: x for name, x in self._buffers.items() if name not in self._non_persistent_buffers_set}
        return {name: x for name, x in {**self._parameters, **buffers}.items() if x is not None}

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Put into ``destination`` what this module itself owns; a class with a form of its own overrides it."""
        for name, tensor in self._persistent().items():
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if self._has_extra_state("get_extra_state"):
            destination[prefix + EXTRA_STATE] = self.get_extra_state()

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy parameters and buffers from ``state_dict`` by name.

        Args:
            state_dict: names to tensors, as `state_dict` gives them.
            strict: every name must be there and no other.
            assign: take the tensors themselves instead of copying their numbers.

        Raises:
            TypeError: for something that is no mapping.
            RuntimeError: listing every missing and unexpected name and every shape that differs. Then nothing has been
                changed, unless hooks had to run after loading, or a module has a ``_load_from_state_dict`` of its own.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        load = _Load(strict, assign, getattr(state_dict, "_metadata", None))
        state: Any = OrderedDict(state_dict)
        if load.metadata is not None:
            state._metadata = load.metadata
        at_once = any(module._load_state_dict_post_hooks for module in self.modules())
        outer, _loading.actions = _loading.actions, None if at_once else []
        try:
            load.into(self, state, "")
            actions = _loading.actions or []
        finally:
            _loading.actions = outer
        if not load.problems():
            load.errors.extend(error for action in actions if (error := action()) is not None)
        if problems := load.problems():
            listed = "\n\t".join(problems)
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t{listed}")
        return load.keys

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load what this module itself owns; a class that knows older forms of its state overrides it.

        Args:
            state_dict: the names that begin with ``prefix``.
            prefix: of this module's names.
            local_metadata: what this module noted when it was saved, "version" above all.
            strict: whether names that do not match are noted in the two lists.
            missing_keys, unexpected_keys, error_msgs: to be added to.
        """
        arguments = (state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        for hook in tuple(self._load_state_dict_pre_hooks.values()):
            if type(hook) is PublicHook:
                hook.function(self, *arguments)
            else:
                hook(*arguments)
        assign = local_metadata.get("assign_to_params_buffers", False)
        own = self._persistent()
        actions: list[Callable[[], str | None]] = []
        for name, tensor in own.items():
            key = prefix + name
            if key in state_dict:
                given = _like_scalar(state_dict[key], tensor)
                if (error := _misfit(key, tensor, given)) is not None:
                    error_msgs.append(error)
                elif not is_lazy(given):
                    actions.append(lambda n=name, k=key, g=given: self._take(n, k, g, assign))  # type: ignore[misc]
            elif strict:
                missing_keys.append(key)
        extra = prefix + EXTRA_STATE
        if self._has_extra_state("set_extra_state"):
            if extra in state_dict:
                actions.append(lambda: self._take_extra(state_dict[extra]))
            elif strict:
                missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)
        for key in state_dict if strict else ():
            if key.startswith(prefix) and key != extra:
                head, dot, _ = key.removeprefix(prefix).partition(".")
                if head not in (self._modules if dot else own):
                    unexpected_keys.append(key)
        # A method of a program's own may rely on what it has just loaded; those of this package do not.
        can_wait = type(self)._load_from_state_dict.__module__.startswith("torchlite.")
        if can_wait and _loading.actions is not None:
            _loading.actions += actions
        else:
            error_msgs.extend(error for action in actions if (error := action()) is not None)

    def _take_extra(self, state: Any) -> None:
        self.set_extra_state(state)

    @no_grad()
    def _take(self, name: str, key: str, given: Tensor, assign: bool) -> str | None:
        """Copy or take over one tensor; what went wrong, if anything."""
        own: Any = self._persistent()[name]
        try:
            if not assign:
                if own.is_meta and not given.is_meta:
                    warnings.warn(
                        f"for {key}: copying from a non-meta parameter in the checkpoint to a meta parameter in the current "
                        "model, which is a no-op. (Did you mean to pass `assign=True` to take over the tensors instead of "
                        "copying them in place?)",
                        stacklevel=4,
                    )
                own.copy_(given)
            elif isinstance(own, Parameter):
                taken = given if isinstance(given, Parameter) else Parameter(given)
                setattr(self, name, taken.requires_grad_(own.requires_grad))
            else:
                setattr(self, name, given)
        except Exception as error:
            return (
                f'While copying the parameter named "{key}", whose dimensions in the model are {own.shape} and '
                f"whose dimensions in the checkpoint are {given.shape}, an exception occurred : {error.args}."
            )
        return None


class _Load:
    """One call of `load_state_dict`."""

    def __init__(self, strict: bool, assign: bool, metadata: dict[str, Any] | None) -> None:
        self.strict = strict
        self.assign = assign
        self.metadata = metadata
        self.keys = IncompatibleKeys([], [])
        self.errors: list[str] = []

    def into(self, module: Any, state: dict[str, Any], prefix: str) -> None:
        """Load ``module`` and all below it, then run its hooks."""
        local_metadata = {} if self.metadata is None else self.metadata.get(prefix[:-1], {})
        if self.assign:
            local_metadata = {**local_metadata, "assign_to_params_buffers": True}
        module._load_from_state_dict(state, prefix, local_metadata, True, *self.keys, self.errors)
        below: dict[str, dict[str, Any]] = {}
        for key, value in state.items():
            if key.startswith(prefix):
                head, dot, _ = key.removeprefix(prefix).partition(".")
                if dot:
                    below.setdefault(head, {})[key] = value
        for name, child in module._modules.items():
            if child is not None:
                self.into(child, below.get(name, {}), f"{prefix}{name}.")
        for hook in tuple(module._load_state_dict_post_hooks.values()):
            if hook(module, self.keys) is not None:
                raise AssertionError(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new values, "
                    "if incompatible_keys need to be modified, it should be done inplace."
                )

    def problems(self) -> list[str]:
        """Everything that speaks against the load."""
        found = []
        if self.strict and self.keys.missing_keys:
            found.append(f"Missing key(s) in state_dict: {_quoted(self.keys.missing_keys)}. ")
        if self.strict and self.keys.unexpected_keys:
            found.append(f"Unexpected key(s) in state_dict: {_quoted(self.keys.unexpected_keys)}. ")
        return found + self.errors


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _like_scalar(given: Any, own: Tensor) -> Any:
    """A vector of one number, as very old versions saved numbers, as the number that ``own`` is."""
    if isinstance(given, Tensor) and not is_lazy(own) and not is_lazy(given) and own.ndim == 0 and given.shape == (1,):
        return given[0]
    return given


def _misfit(key: str, own: Tensor, given: Any) -> str | None:
    """Why ``given`` can't be loaded into ``own``, None when it can."""
    if not isinstance(given, Tensor):
        return (
            f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from checkpoint but '
            f"received {type(given)}"
        )
    if is_lazy(own):
        return None
    if is_lazy(given):
        return f'While copying the parameter named "{key}": that of the checkpoint is uninitialized'
    if given.shape != own.shape:
        return (
            f"size mismatch for {key}: copying a param with shape {given.shape} from checkpoint, the shape in current "
            f"model is {own.shape}."
        )
    return None
