"""Every C text compiles for other processors than this one, and leaves the processor's floating-point modes alone.

``TORCHLITE_CFLAGS=-march=x86-64 pytest tests/backends/native tests/compiler`` runs what is compiled for another one.
"""

import ctypes
import importlib
import pkgutil
import platform
import subprocess

import pytest

import torchlite
import torchlite.nn.functional
from torchlite.backends import native
from torchlite.backends.native import library, toolchain, weight_grad_winograd
from torchlite.backends.native.library import Family
from torchlite.ops.windows import Window

X86 = platform.machine() == "x86_64"
TARGETS = {
    "AVX-512": (X86, ["-march=x86-64-v4"]),
    "AVX-512 and AMX": (X86, ["-march=sapphirerapids"]),
    "AVX2": (X86, ["-march=haswell"]),
    "SSE2": (X86, ["-march=x86-64"]),
    "baseline": (not X86, []),
}
MODES = """
static void note(void *argument, long index) {
    uint64_t *mode = (uint64_t *)argument + index;
#ifdef __x86_64__
    *mode = __builtin_ia32_stmxcsr() & ~63u;  // without the flags of what has happened
#else
    __asm__ volatile("mrs %0, fpcr" : "=r"(*mode));
#endif
}
void modes(uint64_t *of_tasks, long count) { parallel(note, of_tasks, count); }
"""


def families():
    """The libraries of kernels by the name of their module."""
    names = [module.name for module in pkgutil.iter_modules(native.__path__)]
    modules = {name: importlib.import_module(f"{native.__name__}.{name}") for name in names}
    return {name: module.C for name, module in modules.items() if isinstance(getattr(module, "C", None), Family)}


def texts():
    """All C texts: the pool's and each family's."""
    sources = {name: family.text for name, family in families().items()}
    common = ("parallel.h", "mathematics.h", "vectors.h")
    window = Window.of((3, 3), padding=(1, 1))
    gradients = "".join(
        weight_grad_winograd.weight_grad(f"gradient{n}", (64, 16, 16, 16), (64, 16, 16, n), window).text
        for n in (16, 32)
    )
    of_programs = {
        "gemm_tiles": library.text(*common, "gemm.h", "bfloat16.h", "split_float32.h", "gemm_tiles.h"),
        "weight_grad_winograd": library.text(*common, *weight_grad_winograd.HEADERS) + gradients,
    }
    return {"pool": library.text("pool.c"), **of_programs, **sources}


@pytest.fixture
def compiler():
    try:
        return toolchain.compiler()
    except toolchain.Unavailable as error:
        pytest.skip(str(error))


def check(using, folder):
    """Compile all texts, in a hurry."""
    for name, text in texts().items():
        source = folder / f"{name}.c"
        source.write_text(text)
        command = [*using.command, *using.flags, "-O0", "-c", "-o", str(source.with_suffix(".o")), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_every_text_compiles_for(target, compiler, monkeypatch, tmp_path):
    here, flags = TARGETS[target]
    if not here or "ziglang" in compiler.command:
        pytest.skip("not a target of this compiler")
    monkeypatch.setenv("TORCHLITE_CFLAGS", " ".join([*flags, "-Wall", "-Wno-unused-function", "-Werror"]))
    check(compiler, tmp_path)


@pytest.mark.parametrize("target", ["aarch64-linux-gnu", "riscv64-linux-gnu", "aarch64-macos"])
def test_every_text_compiles_with_zig_for(target, monkeypatch, tmp_path):
    pytest.importorskip("ziglang")
    monkeypatch.setenv("TORCHLITE_CFLAGS", f"-target {target}")
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    check(toolchain.compiler(), tmp_path)


def test_the_target_can_be_chosen_and_is_part_of_the_name(compiler, monkeypatch):
    monkeypatch.delenv("TORCHLITE_CFLAGS", raising=False)
    native_flags, name = compiler.flags, toolchain.key("", compiler)
    monkeypatch.setenv("TORCHLITE_CFLAGS", "-march=x86-64 '-DNAME=a b'")
    assert compiler.flags[-2:] == ("-march=x86-64", "-DNAME=a b")
    assert "-march=native" not in compiler.flags
    assert compiler.flags[:3] == native_flags[:3]
    assert toolchain.key("", compiler) != name


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="reads their control registers")
def test_kernels_leave_rounding_and_denormal_modes_alone(compiler):
    if not toolchain.enabled():
        pytest.skip("kernels are switched off")
    reading = library.load(library.text("parallel.h") + MODES)
    tasks = 64
    noted = (ctypes.c_uint64 * tasks)()
    reading.modes.argtypes = [ctypes.c_void_p, ctypes.c_long]
    before = torchlite.get_num_threads()
    try:
        torchlite.set_num_threads(2)
        reading.modes(noted, tasks)
        modes = set(noted)
        for family in families().values():
            assert family.available()
        x = torchlite.rand(64, 1024, requires_grad=True)
        torchlite.nn.functional.gelu(x).softmax(1).sum().backward()
        reading.modes(noted, tasks)
    finally:
        torchlite.set_num_threads(before)
    assert set(noted) == modes
    assert len(modes) == 1
