"""Functions that backward calls on its way, and the handles that remove them."""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

Hooks = OrderedDict[Any, Any]
of_everything: dict[str, Hooks] = {when: OrderedDict() for when in ("modules", "before every step", "after every step")}
"""Hooks of all modules, and of all optimizers."""

_ids = itertools.count()


class RemovableHandle:
    """Removes the hook that it was returned for; also a context manager that does so at the end."""

    def __init__(self, hooks: Hooks, hook: Any, *, prepend: bool = False) -> None:
        # Weak, because a hook may hold its own handle: a cycle would keep whatever the hook refers to.
        self._hooks = weakref.ref(hooks)
        self.id = next(_ids)
        hooks[self.id] = hook
        if prepend:
            hooks.move_to_end(self.id, last=False)

    def remove(self) -> None:
        """Stop calling the hook; once is enough."""
        hooks = self._hooks()
        if hooks is not None:
            hooks.pop(self.id, None)

    def __getstate__(self) -> dict[str, Any]:
        return {"hooks": self._hooks(), "id": self.id}

    def __setstate__(self, state: dict[str, Any]) -> None:
        hooks = Hooks() if state["hooks"] is None else state["hooks"]
        self._hooks = weakref.ref(hooks)
        self.id = state["id"]

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class NodeExtras:
    """What few nodes have: hooks before and after their turn in backward, and what a program noted on them."""

    def __init__(self) -> None:
        self.before: Hooks = OrderedDict()
        self.after: Hooks = OrderedDict()
        self.metadata: dict[Any, Any] = {}


# Beside the nodes and not in them: nodes are made for every recorded operation.
extras: weakref.WeakKeyDictionary[Any, NodeExtras] = weakref.WeakKeyDictionary()


class Hooked:
    """The part of a node's interface that PyTorch gives to programs."""

    __slots__ = ()

    if TYPE_CHECKING:

        def name(self) -> str:
            """PyTorch's name of the node."""

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dictionary for a program's own notes."""
        return extras.setdefault(self, NodeExtras()).metadata

    def register_prehook(self, hook: Any) -> RemovableHandle:
        """Call ``hook(grad_outputs)`` before the node's turn; the tuple it returns replaces the gradients."""
        return RemovableHandle(extras.setdefault(self, NodeExtras()).before, hook)

    def register_hook(self, hook: Any) -> RemovableHandle:
        """Call ``hook(grad_inputs, grad_outputs)`` after the node's turn; what it returns replaces the former."""
        return RemovableHandle(extras.setdefault(self, NodeExtras()).after, hook)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"
