"""Nested tuples, lists and dicts with tensors at the leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def leaves(tree: Any) -> list[Any]:
    """What is not a tuple, list or dict, from left to right."""
    children = _children(tree)
    return [tree] if children is None else [leaf for child in children for leaf in leaves(child)]


def rebuilt(tree: Any, values: Iterator[Any]) -> Any:
    """A tree of the form of ``tree`` with ``values`` at its leaves."""
    children = _children(tree)
    return next(values) if children is None else _with_children(tree, [rebuilt(child, values) for child in children])


def mapped(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """A tree of the form of ``tree`` with ``function`` of the leaves of all trees at its leaves."""
    columns = zip(leaves(tree), *map(leaves, others), strict=True)
    return rebuilt(tree, iter([function(*column) for column in columns]))


def spread(prefix: Any, tree: Any, what: str) -> list[Any]:
    """For each leaf of ``tree`` the leaf of ``prefix``, a tree that may end earlier, under which it lies.

    Raises:
        ValueError: when the two do not fit.
    """
    children = _children(prefix)
    if children is None:
        return [prefix] * len(leaves(tree))
    below = _children(tree)
    if below is None or len(below) != len(children) or isinstance(tree, dict) != isinstance(prefix, dict):
        raise ValueError(f"{what}={prefix!r} does not fit the structure of {type(tree).__name__} it is for")
    if isinstance(tree, dict):
        if set(tree) != set(prefix):
            raise ValueError(f"{what} has the keys {sorted(prefix)} and what it is for has {sorted(tree)}")
        return [found for key in tree for found in spread(prefix[key], tree[key], what)]
    return [found for p, t in zip(children, below, strict=True) for found in spread(p, t, what)]


def _children(tree: Any) -> list[Any] | None:
    if isinstance(tree, dict):
        return list(tree.values())
    return list(tree) if isinstance(tree, (tuple, list)) else None


def _with_children(tree: Any, children: list[Any]) -> Any:
    if isinstance(tree, dict):
        return type(tree)(zip(tree, children, strict=True))
    if hasattr(tree, "_fields"):
        return type(tree)(*children)
    return type(tree)(children)
