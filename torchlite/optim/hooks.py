"""Functions that are called before and after every step, of one optimizer or of all."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from itertools import chain
from typing import Any

from torchlite.autograd.hooks import RemovableHandle, of_everything

Hooks = OrderedDict[int, Callable[..., Any]]

_pre_hooks_of_all = of_everything["before every step"]
_post_hooks_of_all = of_everything["after every step"]


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` before every step of every optimizer; it may return new (args, kwargs)."""
    return RemovableHandle(_pre_hooks_of_all, hook)


def register_optimizer_step_post_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` after every step of every optimizer."""
    return RemovableHandle(_post_hooks_of_all, hook)


def with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """The method ``step`` of a class of optimizers, with hooks around it.

    Where one class's step calls that of its parent, hooks are called around the whole.
    """

    @functools.wraps(step)
    def hooked(self: Any, *args: Any, **kwargs: Any) -> Any:
        begun = "_optimizer_step_pre_hooks" in vars(self)  # not where a wrapper of an optimizer leaves out __init__
        if type(self).step is not hooked or not begun:
            return step(self, *args, **kwargs)
        for hook in list(chain(_pre_hooks_of_all.values(), self._optimizer_step_pre_hooks.values())):
            changed = hook(self, args, kwargs)
            if changed is not None:
                if not isinstance(changed, tuple) or len(changed) != 2:
                    raise RuntimeError(
                        f"a hook before {type(self).__name__}.step must return None or a tuple of (new_args, "
                        f"new_kwargs), but got {changed}."
                    )
                args, kwargs = changed
        result = step(self, *args, **kwargs)
        for hook in list(chain(self._optimizer_step_post_hooks.values(), _post_hooks_of_all.values())):
            hook(self, args, kwargs)
        return result

    return hooked
