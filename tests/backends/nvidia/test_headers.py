"""What is bound of NVIDIA's libraries is what their headers declare; where the wheels with the headers are installed."""

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nvrtc
import pytest

from torchlite.backends.nvidia import cublaslt, cudnn
from torchlite.backends.nvidia.library import Library

COMPILER = shutil.which("gcc") or shutil.which("cc")
INCLUDED = [path / "include" for path in nvrtc.roots() if (path / "include").is_dir()]
_TYPES = {"p": "void *", "i": "int", "n": "size_t", "l": "int64_t", "s": "const char *", "-": "void"}


def has(header: str) -> bool:
    return COMPILER is not None and all(any((p / h).exists() for p in INCLUDED) for h in (header, "cuda_runtime_api.h"))


def compiles(folder: Path, header: str, lines: list[str]) -> str:
    """What the compiler has to say against a text with a library's header."""
    source = folder / "check.c"
    source.write_text("\n".join(["#include <stddef.h>", "#include <stdint.h>", f"#include <{header}>", *lines]))
    # A header of a toolkit may warn of itself, as one of the system may not.
    includes = [option for path in INCLUDED for option in ("-isystem", str(path))]
    flags = ["-std=gnu11", "-fsyntax-only", "-Wall", "-Wconversion", "-Wno-deprecated-declarations", "-Werror"]
    done = subprocess.run([COMPILER, *flags, *includes, source], capture_output=True, text=True, check=False)
    return done.stderr


def call_of(name: str, types: str) -> str:
    """A function that calls ``name`` with values of just the bound types: too few, too many or others don't compile."""
    arguments, _, result = types.partition("->")
    parameters = ", ".join(f"{_TYPES[kind]} a{i}" for i, kind in enumerate(arguments)) or "void"
    call = f"{name}({', '.join(f'a{i}' for i in range(len(arguments)))});"
    returned = _TYPES[result or "i"]
    declared = f"{returned} check_{name}({parameters})"
    return f"{declared};\n{declared} {{ {call if returned == 'void' else f'return {call}'} }}"


def constants_of(module: Any, prefix: str) -> list[str]:
    found = {name: value for name, value in vars(module).items() if name.startswith(prefix)}
    assert found
    return [f'_Static_assert({name} == {value}, "{name}");' for name, value in found.items()]


def layout_of(name: str, structure: type[ctypes.Structure]) -> list[str]:
    """That a structure has the size of the declared one, and its fields lie where those of the same names do."""
    lines = [f'_Static_assert(sizeof({name}) == {ctypes.sizeof(structure)}, "{name}");']
    for field, *_ in structure._fields_:
        place = getattr(structure, field)
        lines.append(f'_Static_assert(offsetof({name}, {field}) == {place.offset}, "{field}");')
        lines.append(f'_Static_assert(sizeof((({name} *)0)->{field}) == {place.size}, "{field}");')
    return lines


@pytest.mark.skipif(not has("cudnn.h"), reason="needs the headers of nvidia-cudnn-cu13 and nvidia-cuda-runtime")
class TestCudnn:
    def test_functions_enumerators_and_structures(self, tmp_path: Path) -> None:
        lines = [call_of(name, types) for name, types in cudnn.FUNCTIONS.items()]
        lines += constants_of(cudnn, "CUDNN_")
        for kind in ("Fwd", "BwdData", "BwdFilter"):
            lines += layout_of(f"cudnnConvolution{kind}AlgoPerf_t", cudnn.Algorithm)
        assert compiles(tmp_path, "cudnn.h", lines) == ""

    @pytest.mark.parametrize(
        "wrong",
        [
            call_of("cudnnSetStream", "pi"), call_of("cudnnSetStream", "p"), call_of("cudnnConvolutionForward", "pppppppiinppp"),
            '_Static_assert(CUDNN_DATA_HALF == 1, "");',
        ],
    )  # fmt: skip
    def test_a_mistake_is_found(self, tmp_path: Path, wrong: str) -> None:
        assert "error" in compiles(tmp_path, "cudnn.h", [wrong])


@pytest.mark.skipif(not has("cublasLt.h"), reason="needs the headers of nvidia-cublas and nvidia-cuda-runtime")
def test_functions_enumerators_and_structures_of_cublaslt(tmp_path: Path) -> None:
    lines = [call_of(name, types) for name, types in cublaslt.FUNCTIONS.items()]
    lines += constants_of(cublaslt, "CU")
    lines += layout_of("cublasLtMatmulHeuristicResult_t", cublaslt.Algorithm)
    assert compiles(tmp_path, "cublasLt.h", lines) == ""


def installed(library: Library) -> Any:
    """The library itself, loaded anew; tests that need it are skipped where it is not installed."""
    fresh = Library(library.title, library.file, library.functions, library._explain)
    if fresh.loaded is None or hasattr(fresh.loaded, "fake_log"):
        pytest.skip(f"{library.title} is not installed, or simulated")
    return fresh


def test_cudnn_itself_loads_and_takes_descriptors() -> None:
    """Without a GPU it describes arrays, and says what a convolution of them gives."""
    library = installed(cudnn.LIBRARY)
    assert library.loaded.cudnnGetVersion() >= 90000
    made = {kind: library.create(f"cudnnCreate{kind}Descriptor") for kind in ("Tensor", "Filter", "Convolution")}
    ints = ctypes.c_int * 4
    x, strides, weight = ints(2, 4, 9, 7), ints(252, 1, 28, 4), ints(6, 2, 3, 3)
    library.call("cudnnSetTensorNdDescriptor", made["Tensor"], cudnn.CUDNN_DATA_HALF, 4, x, strides)
    library.call(
        "cudnnSetFilterNdDescriptor", made["Filter"], cudnn.CUDNN_DATA_HALF, cudnn.CUDNN_TENSOR_NHWC, 4, weight
    )
    pairs = [(ctypes.c_int * 2)(*pair) for pair in ((1, 0), (2, 1), (1, 2))]
    mode = cudnn.CUDNN_CROSS_CORRELATION
    library.call("cudnnSetConvolutionNdDescriptor", made["Convolution"], 2, *pairs, mode, cudnn.CUDNN_DATA_FLOAT)
    library.call("cudnnSetConvolutionGroupCount", made["Convolution"], 2)
    out = ints()
    asked = library.loaded.cudnnGetConvolutionNdForwardOutputDim
    asked.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int, ctypes.c_void_p]
    assert asked(made["Convolution"], made["Tensor"], made["Filter"], 4, out) == 0
    assert list(out) == [2, 6, 5, 3]
    for kind, descriptor in made.items():
        library.call(f"cudnnDestroy{kind}Descriptor", descriptor)
    with pytest.raises(RuntimeError, match="cuDNN: cudnnSetTensorNdDescriptor failed: CUDNN_STATUS_BAD_PARAM"):
        library.call("cudnnSetTensorNdDescriptor", None, 0, 4, x, strides)
