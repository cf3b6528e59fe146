"""cuDNN's functions for convolutions, and a handle for each thread and GPU."""

from __future__ import annotations

import ctypes
import threading
import warnings
from typing import Any

from torchlite.backends import cupy
from torchlite.backends.nvidia.library import Failure, Library

# Enumerators of cudnn_graph.h and cudnn_ops.h.
CUDNN_DATA_FLOAT, CUDNN_DATA_DOUBLE, CUDNN_DATA_HALF, CUDNN_DATA_BFLOAT16 = 0, 1, 2, 9
CUDNN_TENSOR_NCHW, CUDNN_TENSOR_NHWC = 0, 1
CUDNN_CROSS_CORRELATION = 1
CUDNN_DEFAULT_MATH, CUDNN_TENSOR_OP_MATH, CUDNN_FMA_MATH = 0, 1, 3
CUDNN_DETERMINISTIC = 1
CUDNN_STATUS_NOT_SUPPORTED = 3000  # and its reasons above

FUNCTIONS = {
    "cudnnGetVersion": "->n",
    "cudnnGetErrorString": "i->s",
    "cudnnGetLastErrorString": "pn->-",
    "cudnnCreate": "p",
    "cudnnSetStream": "pp",
    "cudnnCreateTensorDescriptor": "p",
    "cudnnSetTensorNdDescriptor": "piipp",
    "cudnnDestroyTensorDescriptor": "p",
    "cudnnCreateFilterDescriptor": "p",
    "cudnnSetFilterNdDescriptor": "piiip",
    "cudnnDestroyFilterDescriptor": "p",
    "cudnnCreateConvolutionDescriptor": "p",
    "cudnnSetConvolutionNdDescriptor": "pipppii",
    "cudnnSetConvolutionMathType": "pi",
    "cudnnSetConvolutionGroupCount": "pi",
    "cudnnDestroyConvolutionDescriptor": "p",
    "cudnnGetConvolutionForwardAlgorithm_v7": "pppppipp",
    "cudnnGetConvolutionBackwardDataAlgorithm_v7": "pppppipp",
    "cudnnGetConvolutionBackwardFilterAlgorithm_v7": "pppppipp",
    "cudnnConvolutionForward": "pppppppipnppp",
    "cudnnConvolutionBackwardData": "pppppppipnppp",
    "cudnnConvolutionBackwardFilter": "pppppppipnppp",
}
_LONGEST_MESSAGE = 1024


class Algorithm(ctypes.Structure):
    """``cudnnConvolutionFwdAlgoPerf_t``, and likewise of the other two: an algorithm as the heuristics judge it."""

    algo: int
    status: int
    time: float
    memory: int
    determinism: int
    mathType: int
    _fields_ = (
        ("algo", ctypes.c_int), ("status", ctypes.c_int), ("time", ctypes.c_float), ("memory", ctypes.c_size_t),
        ("determinism", ctypes.c_int), ("mathType", ctypes.c_int), ("reserved", ctypes.c_int * 3),
    )  # fmt: skip


def _explain(library: ctypes.CDLL, status: int) -> str:
    """The name of the status, and what the library says of the latest one."""
    more = ctypes.create_string_buffer(_LONGEST_MESSAGE)
    library.cudnnGetLastErrorString(more, _LONGEST_MESSAGE)
    name = library.cudnnGetErrorString(status).decode()
    return f"{name}: {more.value.decode(errors='replace')}" if more.value else name


LIBRARY = Library("cuDNN", lambda: "libcudnn.so.9", FUNCTIONS, _explain)
call = LIBRARY.call


def unsupported(error: Failure) -> bool:
    """Whether cuDNN says that it does not compute something, and not that the call was wrong."""
    return error.status // 1000 == CUDNN_STATUS_NOT_SUPPORTED // 1000


class _Handles(threading.local):
    """Of this thread, by the number of the GPU."""

    def __init__(self) -> None:
        self.of: dict[int, ctypes.c_void_p] = {}
        self.streams: dict[int, int] = {}  # in which they compute


_handles = _Handles()
_refused: set[int] = set()


def version() -> int | None:
    """cuDNN's version, such as 92801; None where it is not found."""
    return None if LIBRARY.loaded is None else int(LIBRARY.loaded.cudnnGetVersion())


def handle(device: int) -> Any:
    """This thread's handle for CuPy's current GPU, which has this number, in its current stream; None where cuDNN is missing
    or refuses this GPU.
    """
    if LIBRARY.loaded is None or device in _refused:
        return None
    if device not in _handles.of:
        try:
            _handles.of[device] = LIBRARY.create("cudnnCreate")
        except Failure as error:  # a driver that is too old for it, say
            _refused.add(device)
            warnings.warn(
                f"{error}; convolutions on cuda:{device} run as matrix products", RuntimeWarning, stacklevel=2
            )
            return None
    found, stream = _handles.of[device], cupy().cuda.get_current_stream().ptr
    if _handles.streams.get(device) != stream:
        call("cudnnSetStream", found, stream)
        _handles.streams[device] = stream
    return found
