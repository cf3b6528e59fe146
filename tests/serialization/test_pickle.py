"""The pickle machine and its writer, against each other and against Python's own pickle."""

import pickle
import pickletools
from collections import OrderedDict, deque, namedtuple
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchlite.errors import FormatError
from torchlite.serialization.limits import Limits
from torchlite.serialization.pickle_reader import read_pickle
from torchlite.serialization.pickle_writer import write_pickle


def write(obj: Any) -> bytes:
    return write_pickle(obj, lambda leaf: leaf)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**100), 2**100),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.text(),
    st.binary(max_size=20),
)
keys = st.one_of(st.text(max_size=5), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.none(), st.binary(max_size=3))
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(keys, inner, max_size=5),
        st.dictionaries(keys, inner, max_size=5).map(OrderedDict),
        st.sets(keys, max_size=4),
    ),
    max_leaves=20,
)


@settings(deadline=None, derandomize=True)
@given(trees)
def test_written_trees_are_read_by_us_and_by_python(tree: Any) -> None:
    data = write(tree)
    assert read_pickle(data) == tree
    assert pickle.loads(data) == tree


@settings(deadline=None, derandomize=True)
@given(trees)
def test_trees_that_python_pickled_are_read(tree: Any) -> None:
    assert read_pickle(pickle.dumps(tree, 2)) == tree


def test_writer_uses_only_opcodes_of_protocol_2() -> None:
    tree = {"a": [1, -1, 2**40, 1.5, (1, 2), {3}, b"x"], "b": OrderedDict(c=None)}
    assert all(opcode.proto <= 2 for opcode, _, _ in pickletools.genops(write(tree)))


def test_same_object_is_one_object_again() -> None:
    shared = [1]
    tree = {"a": shared, "b": (shared, shared), "text": ["x", "x"]}
    again = read_pickle(write(tree))
    assert again["a"] is again["b"][0] is again["b"][1]


def test_many_objects_use_long_memo_indices() -> None:
    tree = [[str(number)] for number in range(1000)]
    assert read_pickle(write([tree, tree])) == [tree, tree]


def test_equal_floats_and_bools_are_not_confused() -> None:
    again = read_pickle(write([1, 1.0, True, 0, -0.0, False]))
    assert [type(value) for value in again] == [int, float, bool, int, float, bool]
    assert str(again[4]) == "-0.0"


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("obj", "where"),
    [
        ({"a": [object()]}, r"obj\['a'\]\[0\] is a builtins.object"),
        ({"a": deque("aa")}, r"obj\['a'\] is a collections.deque"),
        ([Point(1, 2)], r"obj\[0\] is a .*Point"),
        ([frozenset()], "frozenset"),
        ([len], "builtin"),
        ([int], "builtins.type"),
        ({frozenset(): 1}, "a key of obj is a frozenset"),
        ([{(1, (2,))}], r"a key of obj\[0\] is a tuple"),
    ],
)
def test_what_cannot_be_read_safely_is_not_written(obj: Any, where: str) -> None:
    with pytest.raises(TypeError, match=where):
        write(obj)


def test_modules_are_to_be_saved_as_state_dicts() -> None:
    class Model:
        def state_dict(self) -> dict[str, Any]:
            return {}

    with pytest.raises(TypeError, match=r"save its state_dict\(\)"):
        write(Model())


def test_cycles_and_depth_are_refused_by_the_writer() -> None:
    cycle: list[Any] = []
    cycle.append({"x": cycle})
    with pytest.raises(ValueError, match="contains itself"):
        write(cycle)
    deep: Any = 0
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ValueError, match="nested deeper"):
        write(deep)


def test_what_is_written_is_never_too_deep_to_read() -> None:
    deep: Any = 0
    for _ in range(63):
        deep = [deep]
    assert read_pickle(write(deep)) == deep


def test_huge_integers_are_refused_by_the_writer() -> None:
    assert read_pickle(write(2**2038)) == 2**2038
    with pytest.raises(ValueError, match="2041 bits"):
        write(2**2040)
    with pytest.raises(ValueError, match="more than 64 bits"):
        write({2**64: 1})


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(pickle_bytes=10), "10"),
        (Limits(pickle_operations=10), "operations"),
        (Limits(pickle_memory_floor_bytes=0, pickle_memory_ratio=1), "memory"),
        (Limits(nesting_depth=2), "nested"),
        (Limits(tree_nodes=5), "more than 5 times"),
        (Limits(pickle_tuple_keys=0), "tuples"),
    ],
)
def test_every_limit_holds(limits: Limits, message: str) -> None:
    data = write({"a": [[1], [2]], (1, 2): [3, 4, 5]})
    read_pickle(data)
    with pytest.raises(FormatError, match=message):
        read_pickle(data, limits)
