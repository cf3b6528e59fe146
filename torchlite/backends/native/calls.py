"""Functions of Python made of functions of C, without ctypes between: a call takes 0.1 µs instead of 1.5."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np

from torchlite.backends.memory import CPYTHON

_FLOAT32 = np.dtype(np.float32)

# For each letter of a signature how C takes an argument from the object that Python gives.
_TAKEN = {
    "a": "numbers_of(given[{}])", "o": "array_of(given[{}])", "n": "python.as_long(given[{}])",
    "i": "(int)python.as_long(given[{}])", "f": "(float)python.as_double(given[{}])", "d": "python.as_double(given[{}])",
}  # fmt: skip
_KINDS = {"a": "void *", "o": "void *", "n": "long", "i": "int", "f": "float", "d": "double"}
_RETURNED = {"n": "python.from_long(result)", "i": "python.from_long(result)", "d": "python.from_double(result)"}

# What `Python` of ``calls.h`` holds behind five objects and the size of an object's header.
_INTERFACE = (
    "PyObject_IsInstance", "PyLong_AsLong", "PyFloat_AsDouble", "PyLong_FromLong", "PyFloat_FromDouble",
    "PyTuple_Pack", "PyObject_Vectorcall", "Py_IncRef", "Py_DecRef", "PyErr_Occurred", "PyErr_Format", "PyEval_SaveThread",
    "PyEval_RestoreThread",
)  # fmt: skip


def callable_directly(signature: str) -> bool:
    """Whether a function of such a signature can be called so: not with other pointers, and only by CPython."""
    return CPYTHON and "p" not in signature


def text(functions: Mapping[str, str]) -> str:
    """The C text, to be put after ``calls.h`` and the functions, of what Python calls.

    Args:
        functions: the signature of each, as `Family` has them.
    """
    return "\n".join(_text(name, *signature.split("->")) for name, signature in functions.items())


def _text(name: str, arguments: str, result: str = "") -> str:
    taken = "".join(f"    {_KINDS[letter]} a{i} = {_TAKEN[letter].format(i)};\n" for i, letter in enumerate(arguments))
    call = f"{name}({', '.join(f'a{i}' for i in range(len(arguments)))})"
    if result == "o":  # it makes objects itself
        run = f"    return {call};"
    else:
        run = f"""\
    void *thread = python.let_others_run();
    {f"{_KINDS[result]} result = " if result else ""}{call};
    python.go_on(thread);
    return {_RETURNED[result] if result else "nothing()"};"""
    return f"""
static void *call_{name}(void *self, void *const *given, intptr_t count) {{
    (void)self;
    if (count != {len(arguments)})
        return python.fail(python.type_error, "{name} takes {len(arguments)} arguments, but got %zd", count);
{taken}    if (python.failure()) return NULL;
{run}
}}
const Method method_{name} = {{"{name}", call_{name}, METH_FASTCALL, NULL}};
"""


def bind(library: ctypes.CDLL) -> None:
    """Hand over to a library what its functions need of Python."""
    interface = (ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value for name in _INTERFACE)
    values = (id(None), id(np.ndarray), id(TypeError), id(np.empty), id(_FLOAT32), object.__basicsize__, *interface)
    library.bind_python(ctypes.byref((ctypes.c_void_p * len(values))(*values)))


def function(library: ctypes.CDLL, name: str) -> Any:
    """A function of a library that was bound; it lives as long as the library, which is never unloaded."""
    made = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    method = ctypes.addressof(ctypes.c_char.in_dll(library, f"method_{name}"))
    return made(("PyCFunction_NewEx", ctypes.pythonapi))(method, None, None)
