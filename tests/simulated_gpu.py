"""A stand-in for CuPy that computes with NumPy, so that code for a GPU is exercised where there is none.

It refuses what CuPy refuses: arrays of the host among those of the device, implicit conversion to NumPy, functions and
methods that CuPy 14 does not have; and it never returns scalars. What it can't show is what only a GPU has: the
arithmetic of its kernels, their compilation, its memory. Enabled by ``TORCHLITE_SIMULATED_GPU=1``.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import os
import sys
import types
import weakref
from typing import Any

import cuda_on_host
import graphs_on_host
import ml_dtypes
import numpy as np
import nvidia_on_host

# What NumPy has and CuPy 14.2 has not.
LACKING = {
    "": {
        "asmatrix", "block", "bmat", "einsum_path", "errstate", "geomspace", "geterr", "histogram_bin_edges", "insert",
        "matvec", "nanpercentile", "nanquantile", "ndenumerate", "nditer", "nested_iters", "polyder", "polydiv", "polyint",
        "seterr", "spacing", "unstack", "vecdot", "vecmat", "frompyfunc",
    },
    "linalg": {
        "diagonal", "matrix_norm", "multi_dot", "outer", "svdvals", "tensordot", "trace", "vecdot", "vector_norm",
    },
    "fft": set(),
    "lib.stride_tricks": set(),
    "random": set(),
}  # fmt: skip
SIZED_BY_NUMBERS = {"flatnonzero", "nonzero", "argwhere", "unique", "compress", "extract", "bincount"}
# What CuPy 14.2 has no loop of bfloat16 of, so that it computes in float32 and returns that, and what refuses it.
IN_FLOAT32 = {
    "where", "clip", "float_power", "divmod", "round", "around", "logical_not", "logical_xor", "__divmod__", "tril", "triu",
}  # fmt: skip
NOT_IN_BFLOAT16 = {"sort", "argsort", "lexsort", "unique"}
# What CuPy leaves to libraries that it does not call while a stream captures: products of floats, and factorizations.
PRODUCTS = {"matmul", "dot", "vdot", "inner", "tensordot", "einsum", "__matmul__", "__rmatmul__"}
FACTORIZATIONS = {"cholesky", "det", "eigh", "eigvalsh", "inv", "lstsq", "pinv", "qr", "slogdet", "solve", "svd"}
STREAM = graphs_on_host.NULL_STREAM
NO_METHODS = {"getfield", "resize", "setfield", "setflags", "to_device", "ctypes", "newbyteorder", "tobytes_order"}
SPECIAL = {
    "digamma", "erf", "erfc", "erfcx", "erfinv", "gammainc", "gammaincc", "gammaln", "i0", "i0e", "i1", "i1e", "j0", "j1",
    "k0", "k0e", "k1", "k1e", "log_ndtr", "loggamma", "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "y0", "y1", "zeta",
}  # fmt: skip


def host(value: Any, where: str) -> Any:
    """The NumPy value behind an argument.

    Raises:
        TypeError: for an array of the host, which CuPy does not take among its own.
    """
    if isinstance(value, ndarray):
        return value.on_host
    if isinstance(value, np.ndarray):
        raise TypeError(f"{where}: Unsupported type <class 'numpy.ndarray'>")
    if type(value) in (list, tuple):
        return type(value)(host(v, where) for v in value)
    if type(value) is dict:
        return {k: host(v, where) for k, v in value.items()}
    return value


def device(value: Any) -> Any:
    """A result of NumPy as CuPy returns it: every array and scalar is an array of the device."""
    if isinstance(value, np.ndarray | np.generic):
        return ndarray(np.asarray(value))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(device(v) for v in value))
    if type(value) in (list, tuple):
        return type(value)(device(v) for v in value)
    return value


def read_kernel() -> None:
    """Look into a file, as CuPy's compiler does for the kernel of an operation, whoever calls."""
    with open(os.devnull) as file:
        file.read()


def on_device(function: Any, name: str) -> Any:
    """A function of NumPy with arrays of the device for arguments and results."""
    short = name.rpartition(".")[2]
    itself = getattr(function, "__self__", None)  # the array of a method
    called = _in_float32(function, short) if short in IN_FLOAT32 else function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        read_kernel()
        out = kwargs.get("out")
        given, named = [host(a, name) for a in args], host(kwargs, name)
        left_to_libraries(short, given)
        if short in SIZED_BY_NUMBERS or (name == "cupy.where" and len(given) == 1):
            graphs_on_host.refuse(f"{name}, of whose result the host has to know the size")
        if short == "concatenate" and _sends_addresses(given[0]):
            graphs_on_host.refuse("a copy of arrays' addresses from the host")
        if short in NOT_IN_BFLOAT16 and any(_is_bfloat16(a) for a in (itself, *given)):
            raise NotImplementedError("Sorting arrays with dtype 'bfloat16' is not supported")
        with np.errstate(all="ignore"):  # a GPU doesn't warn
            result = computed(lambda: called(*given, **named), itself, *given, *named.values())
        return out if isinstance(out, ndarray) else device(result)

    return call


def _sends_addresses(arrays: Any) -> bool:
    """Whether CuPy joins arrays by one kernel that reads a table of their addresses."""
    small = sum(x.nbytes for x in arrays) < len(arrays) << 21
    return small and len(arrays) > 8 and len({x.dtype for x in arrays}) == 1


def _is_bfloat16(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype == ml_dtypes.bfloat16


def _in_float32(function: Any, name: str) -> Any:
    """A function or method of NumPy that takes bfloat16 as float32."""

    def call(*args: Any, **kwargs: Any) -> Any:
        itself = getattr(function, "__self__", None)
        called = getattr(itself.astype(np.float32), name) if _is_bfloat16(itself) else function
        return called(*(a.astype(np.float32) if _is_bfloat16(a) else a for a in args), **kwargs)

    return call


def left_to_libraries(name: str, given: Any) -> None:
    """Refuse, in CuPy's words, what it leaves to libraries, where a stream captures."""
    if name in PRODUCTS and any(isinstance(x, np.ndarray) and x.dtype.kind not in "iub" for x in given):
        graphs_on_host.refuse_library("cuBLAS")
    if name in FACTORIZATIONS:
        graphs_on_host.refuse_library("cuSOLVER")


def row_major(function: Any) -> Any:
    """A function whose results, where they are new, are row-major whatever the operands are, as those of CuPy's kernels."""

    def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return result if kwargs.get("out") is not None else in_rows(result)

    return call


def in_rows(result: Any) -> Any:
    """Copies that are row-major."""
    return tuple(np.array(r, order="C") for r in result) if type(result) is tuple else np.array(result, order="C")


def computed(run: Any, *given: Any) -> Any:
    """What NumPy computes, at every launch of a graph where one is captured."""
    capture = graphs_on_host.capturing()
    if capture is None:
        return run()
    lists = [x if type(x) in (list, tuple) else [x] for x in given]
    return capture.compute(run, [x for part in lists for x in part if isinstance(x, np.ndarray)])


def allocation(function: Any) -> Any:
    """A function that gives an array of which nothing is computed."""

    def call(*args: Any, **kwargs: Any) -> Any:
        made = function(*(host(a, "empty") for a in args), **kwargs)
        capture = graphs_on_host.capturing()
        if capture is not None:
            made[...] = 0
            capture.allocated(made)
        return ndarray(made)

    return call


def _at(name: str, target: Any, places: Any, values: Any) -> None:
    """``ufunc.at`` of the types that CuPy has atomic operations of; its maxima and minima of floats are those of ``fmaxf``."""
    kinds = {"add": "iIlLqQefd", "maximum": "iIlLqQfd", "minimum": "iIlLqQfd"}
    if target.dtype.char not in kinds.get(name, ""):
        raise TypeError(f"cupy.{name}.at does not support {target.dtype}")
    there, at, given = target.on_host, host(places, name), host(values, name)

    def run() -> None:
        ufunc, numbers = getattr(np, name), given.astype(there.dtype)
        if name != "add" and there.dtype.kind == "f":
            ufunc = {"maximum": np.fmax, "minimum": np.fmin}[name]
            numbers, there[...] = numbers.astype("f4"), there.astype("f4")
        ufunc.at(there, at, numbers)

    computed(run, there, at, given)


class UnownedMemory:
    """Memory that something else owns."""

    def __init__(self, ptr: int, size: int, owner: Any, _device: int = -1) -> None:
        self.ptr, self.size = ptr, size
        self.bytes = (ctypes.c_char * size).from_address(ptr)
        self.bytes.kept = owner, self  # an array that lies in it keeps it


class MemoryPointer:
    """A place in memory."""

    def __init__(self, mem: Any, offset: int) -> None:
        self.mem, self.ptr = mem, mem.ptr + offset


def _pointer(array: np.ndarray[Any, Any]) -> Any:
    """Where an array lies, in memory that comes in pieces of 512 bytes."""
    root: Any = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    kept = getattr(root.base, "kept", None)
    size = -(-root.nbytes // 512) * 512
    mem = types.SimpleNamespace(ptr=root.ctypes.data, size=size) if kept is None else kept[1]
    return types.SimpleNamespace(ptr=array.ctypes.data, mem=mem)


class Ufunc:
    """A universal function; its methods too."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.nin, self.nout, self.__name__ = function.nin, function.nout, function.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return on_device(row_major(self.function), self.__name__)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name not in ("reduce", "accumulate", "outer", "at", "reduceat"):
            raise AttributeError(f"cupy.{self.__name__} has no {name}")
        if name == "at":
            return functools.partial(_at, self.__name__)
        return on_device(getattr(self.function, name), f"{self.__name__}.{name}")


class Flags:
    """What CuPy says of how an array lies; that writing is forbidden it never says."""

    def __init__(self, flags: Any) -> None:
        self.c_contiguous, self.f_contiguous, self.owndata = flags.c_contiguous, flags.f_contiguous, flags.owndata


# An array is one object, and so is the owner of its memory; by the identity of what is on the host.
_known: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


class ndarray:
    """An array of the device."""

    __array_priority__ = 100

    on_host: Any
    base: Any

    def __new__(cls, on_host: Any, dtype: Any = None, memptr: Any = None, strides: Any = None) -> Any:
        if memptr is not None:
            offset = memptr.ptr - memptr.mem.ptr
            return cls(np.ndarray(on_host, dtype, memptr.mem.bytes, offset, strides))
        found = _known.get(id(on_host))
        if found is None:
            found = _known[id(on_host)] = super().__new__(cls)
            found.on_host = on_host
            found.base = ndarray(on_host.base) if isinstance(on_host.base, np.ndarray) else None
        return found

    shape = property(lambda self: self.on_host.shape)
    dtype = property(lambda self: self.on_host.dtype)
    ndim = property(lambda self: self.on_host.ndim)
    size = property(lambda self: self.on_host.size)
    nbytes = property(lambda self: self.on_host.nbytes)
    itemsize = property(lambda self: self.on_host.itemsize)
    strides = property(lambda self: self.on_host.strides)
    flags = property(lambda self: Flags(self.on_host.flags))
    T = property(lambda self: ndarray(self.on_host.T))
    mT = property(lambda self: ndarray(self.on_host.mT))
    device = property(lambda self: types.SimpleNamespace(id=0))
    data = property(lambda self: _pointer(self.on_host))

    @property
    def real(self) -> Any:
        return ndarray(self.on_host.real)

    @real.setter
    def real(self, value: Any) -> None:
        self._set("real", host(value, "real"))

    def _set(self, name: str, value: Any) -> None:
        computed(lambda: setattr(self.on_host, name, value), self.on_host, value)

    @property
    def imag(self) -> Any:
        return ndarray(self.on_host.imag)

    @imag.setter
    def imag(self, value: Any) -> None:
        self._set("imag", host(value, "imag"))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in NO_METHODS:
            raise AttributeError(f"'cupy.ndarray' object has no attribute {name!r}")
        return on_device(getattr(self.on_host, name), name)

    def diagonal(self, *args: Any, **kwargs: Any) -> Any:
        result = self.on_host.diagonal(*args, **kwargs)
        result.flags.writeable = True  # NumPy hands diagonals out read-only, CuPy does not
        return ndarray(result)

    def get(self) -> Any:
        graphs_on_host.refuse("a copy to the host")
        return self.on_host.copy()

    def set(self, array: Any) -> None:
        graphs_on_host.refuse("a copy from the host")
        assert array.shape == self.shape and array.dtype == self.dtype
        self.on_host[...] = array

    def item(self, *args: Any) -> Any:
        return self.get().item(*args)

    def tolist(self) -> Any:
        return self.get().tolist()

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or ufunc.__name__ in LACKING[""]:
            return NotImplemented
        if "out" in kwargs and type(kwargs["out"]) is tuple:
            (kwargs["out"],) = kwargs["out"]
        return on_device(row_major(ufunc), ufunc.__name__)(*inputs, **kwargs)

    def __array_function__(self, function: Any, _types: Any, args: Any, kwargs: Any) -> Any:
        if function.__module__ != "numpy" or function.__name__ in LACKING[""]:
            return NotImplemented
        return on_device(function, function.__name__)(*args, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        key = host(key, "index")
        if any(isinstance(k, np.ndarray) and k.dtype == bool for k in (key if type(key) is tuple else (key,))):
            graphs_on_host.refuse("a mask, of which the host has to count the elements")
        return ndarray(computed(lambda: np.asarray(self.on_host[key]), self.on_host, key))

    def fill(self, value: Any) -> None:
        on_device(self.on_host.fill, "fill")(filling(value))

    def __setitem__(self, key: Any, value: Any) -> None:
        key, value = host(key, "index"), host(filling(value), "setitem")
        computed(lambda: self.on_host.__setitem__(key, value), self.on_host, key, value)

    def __len__(self) -> int:
        return len(self.on_host)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __copy__(self) -> Any:
        return self.copy()

    def __dlpack__(self, **_: Any) -> Any:
        raise BufferError("a simulated GPU has no memory to export")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0


def _operator(name: str) -> Any:
    def call(self: ndarray, *others: Any) -> Any:
        values = [host(o, name) for o in others]
        left_to_libraries(name, [self.on_host])
        in_place = name.startswith("__i") and name != "__invert__"

        def run() -> Any:
            result = getattr(self.on_host, name)(*values)
            return result if in_place or result is NotImplemented else in_rows(result)

        with np.errstate(all="ignore"):
            result = computed(run, self.on_host, *values)
        if result is NotImplemented:
            return result
        return self if in_place else device(result)

    return call


_OPERATORS = (
    "add sub mul truediv floordiv mod pow matmul radd rsub rmul rtruediv rfloordiv rmod rpow rmatmul iadd isub imul itruediv "
    "ifloordiv imod ipow and or xor rand ror rxor iand ior ixor lshift rshift neg pos abs invert eq ne lt le gt ge divmod"
)
for _name in _OPERATORS.split():
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))


class Module(types.ModuleType):
    """A module of CuPy: NumPy's functions that CuPy has too."""

    def __init__(self, name: str, of: Any, lacking: set[str]) -> None:
        super().__init__(name)
        self.of, self.lacking = of, lacking

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in self.lacking:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        found = getattr(self.of, name)
        if isinstance(found, np.ufunc):
            found = Ufunc(found)
        elif callable(found) and not isinstance(found, type):
            found = on_device(found, f"{self.__name__}.{name}")
        setattr(self, name, found)
        return found


def as_device(array: Any, dtype: Any = None, *, copy: bool | None = None, **_: Any) -> ndarray:
    """``cupy.asarray`` and ``cupy.array``: they alone take arrays of the host."""
    if isinstance(array, ndarray):
        return ndarray(computed(lambda: np.array(array.on_host, dtype, copy=copy), array.on_host))
    graphs_on_host.refuse("a copy from the host")
    if type(array) in (list, tuple):
        array = host(array, "array")
    return ndarray(np.array(filling(array), dtype))


def filling(value: Any) -> Any:
    """What CuPy fills arrays with for a number of the host: where it equals 0, as -0 does, with zeros."""
    number = isinstance(value, float | complex | np.generic) or (isinstance(value, np.ndarray) and not value.ndim)
    return np.zeros_like(value)[()] if number and value == 0 else value


class _RawKernel:
    """The one kernel that random streams need, by NumPy's generator of the same numbers."""

    def __init__(self, _source: str, name: str) -> None:
        if name != "philox4x64":
            raise NotImplementedError(f"kernel {name} is not simulated")

    def __call__(self, _grid: Any, _block: Any, arguments: Any) -> None:
        words, blocks, seed, stream, offset, epoch, *places = arguments
        seed_at, offset_at = (place if place is None else place.on_host for place in places)

        def draw() -> None:
            key = np.array([seed if seed_at is None else seed_at, stream], np.uint64)
            start = int(offset if offset_at is None else offset_at)
            generator = np.random.Philox(counter=start | (int(epoch) << 128), key=key)
            words.on_host[...] = generator.random_raw(4 * int(blocks))

        graphs_on_host.launched(draw)


class _Event:
    """A mark in the one stream; a millisecond passes between two marks."""

    marks = itertools.count()

    def record(self) -> None:
        self.time = float(next(self.marks))

    def synchronize(self) -> None:
        graphs_on_host.refuse("waiting for an event")


def _special(name: str) -> Any:
    """A special function by what the package itself does on the host."""
    from torchlite import backends
    from torchlite.backends import special

    if name == "erf":
        return on_device(lambda x: backends.erf(np, x if x.dtype == np.float32 else x.astype(np.float64)), name)
    own = {theirs: ours for ours, theirs in special._CUPY_NAMES.items()}.get(name, name)

    def function(*args: Any) -> Any:
        arrays = [a for a in args if isinstance(a, np.ndarray)]
        orders = [a for a in args if not isinstance(a, np.ndarray)]
        return special.evaluate(np, own, *arrays, **dict(zip(("n",), orders, strict=False)))

    return on_device(function, name)


def _as_strided(x: ndarray, shape: Any = None, strides: Any = None) -> ndarray:
    """CuPy's takes no check of bounds and no `subok`; the result keeps its memory, and remembers nothing else of it."""
    result = ndarray(np.lib.stride_tricks.as_strided(x.on_host, shape, strides))
    result.base = None
    return result


def _eigh(a: Any, uplo: str = "L") -> Any:
    """With the other of the two signs that a vector may have."""
    found = np.linalg.eigh(a, uplo)
    return found._replace(eigenvectors=-found.eigenvectors)


def _svd(a: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Likewise, of those that belong to a singular value."""
    if not compute_uv:
        return np.linalg.svd(a, full_matrices, compute_uv)
    found = np.linalg.svd(a, full_matrices)
    k = found.S.shape[-1]
    found.U[..., :k] *= -1
    found.Vh[..., :k, :] *= -1
    return found


def alloc(size: int) -> Any:
    """Memory without an array."""
    made = allocation(np.empty)(size, np.uint8)
    return types.SimpleNamespace(ptr=made.data.ptr, kept=made)


def install() -> None:
    """Put the stand-in where ``import cupy`` finds it."""
    globals()["__name__"] = "cupy.simulated"  # what its frames say to those who ask who has called them
    cupy = Module("cupy", np, LACKING[""])
    for path in ("linalg", "fft", "random"):
        setattr(cupy, path, Module(f"cupy.{path}", getattr(np, path), LACKING[path]))
    for name, function in (("eigh", _eigh), ("svd", _svd)):
        setattr(cupy.linalg, name, on_device(function, name))
    cupy.full = lambda shape, value, dtype=None: ndarray(np.full(shape, filling(value), dtype))  # type: ignore[attr-defined]
    cupy.where = on_device(row_major(np.where), "where")  # type: ignore[attr-defined]
    # CuPy's product of bfloat16 is bfloat16, NumPy's float32.
    cupy.matmul = on_device(lambda x, y, **kw: np.matmul(x, y, **kw).astype(x.dtype, copy=False), "matmul")  # type: ignore[attr-defined]
    tricks = Module("cupy.lib.stride_tricks", np.lib.stride_tricks, set())
    tricks.as_strided = _as_strided  # type: ignore[attr-defined]
    cupy.lib = types.SimpleNamespace(stride_tricks=tricks)  # type: ignore[attr-defined]
    runtime = types.SimpleNamespace(
        getDeviceCount=lambda: 1,
        runtimeGetVersion=lambda: 13000,
        memGetInfo=lambda: (1 << 33, 1 << 33),
        getDeviceProperties=lambda _index: {"name": b"simulated", "totalGlobalMem": 1 << 33},
    )

    class Device(contextlib.nullcontext):  # type: ignore[type-arg]
        compute_capability = "90"
        attributes = {"MaxSharedMemoryPerBlockOptin": 227 << 10}  # noqa: RUF012

        def __init__(self, id: int | None = None) -> None:
            super().__init__()
            self.id = id or 0

    pool = types.SimpleNamespace(free_all_blocks=lambda: None, used_bytes=lambda: 0, total_bytes=lambda: 0)
    cupy.cuda = types.SimpleNamespace(  # type: ignore[attr-defined]
        Device=Device, runtime=runtime, Event=_Event, get_elapsed_time=lambda start, end: end.time - start.time,
        UnownedMemory=UnownedMemory, MemoryPointer=MemoryPointer,
        get_current_stream=graphs_on_host.current_stream, Stream=graphs_on_host.Stream,
        alloc=alloc, MemoryPool=graphs_on_host.MemoryPool, using_allocator=graphs_on_host.using_allocator,
    )  # fmt: skip
    cupy.get_default_memory_pool = lambda: pool  # type: ignore[attr-defined]
    cupy.ndarray = ndarray  # type: ignore[attr-defined]
    cupy.empty, cupy.empty_like = allocation(np.empty), allocation(np.empty_like)  # type: ignore[attr-defined]
    cupy.asarray = cupy.array = as_device  # type: ignore[attr-defined]
    cupy.asnumpy = lambda x: x.get() if isinstance(x, ndarray) else np.asarray(x)  # type: ignore[attr-defined]
    cupy.RawKernel = _RawKernel  # type: ignore[attr-defined]
    cupy.RawModule = cuda_on_host.RawModule  # type: ignore[attr-defined]
    cupyx = types.ModuleType("cupyx")
    cupyx.errstate = lambda **_: contextlib.nullcontext()  # type: ignore[attr-defined] # NumPy's factorizations raise
    scipy, special = types.ModuleType("cupyx.scipy"), types.ModuleType("cupyx.scipy.special")
    special.__getattr__ = lambda name: _special(name) if name in SPECIAL else _absent(name)  # type: ignore[attr-defined]
    nvidia_on_host.install()
    sys.modules |= {"cupy": cupy, "cupyx": cupyx, "cupyx.scipy": scipy, "cupyx.scipy.special": special}


def _absent(name: str) -> Any:
    raise AttributeError(f"cupyx.scipy.special has no {name}")


def installed() -> bool:
    """Whether the stand-in is what ``import cupy`` finds."""
    return isinstance(sys.modules.get("cupy"), Module)
