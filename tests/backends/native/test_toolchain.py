"""Compiling, caching and loading C, and what happens where that is not possible."""

import ctypes
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from torchlite.backends.native import elementwise, kernel, library, rows, toolchain

ADD = "int add(int a, int b) { return a + b; }"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TORCHLITE_NATIVE", raising=False)
    return tmp_path


@pytest.fixture
def compiler():
    try:
        return toolchain.compiler()
    except toolchain.Unavailable as error:
        pytest.skip(str(error))


def fresh(monkeypatch):
    """Forget what this process has loaded, until the test is over."""
    monkeypatch.setattr(library, "_warned", False)
    kernel.cache_clear()
    library.pool.cache_clear()
    for family in (elementwise.C, rows.C):
        vars(family).update(_libraries={}, _failure=None)
        for name in family._functions:
            vars(family).pop(name, None)


def program(text, **environment):
    return subprocess.run(
        [sys.executable, "-c", text], env=os.environ | environment, capture_output=True, text=True, check=False
    )


def test_a_text_is_compiled_once_and_its_function_can_be_called(compiler, monkeypatch):
    assert toolchain.load(ADD).add(2, 3) == 5
    monkeypatch.setattr(toolchain, "_run", lambda *_: pytest.fail("compiled again"))
    assert toolchain.load(ADD).add(4, 5) == 9


def test_the_folder_is_private_and_keeps_the_text(compiler, own_cache):
    entry = toolchain.compiled(ADD)
    folder = own_cache / "torchlite" / "native"
    assert entry.parent == folder / toolchain.key(ADD, compiler)
    assert folder.stat().st_mode & 0o777 == entry.parent.stat().st_mode & 0o777 == 0o700
    assert (entry.parent / "kernel.c").read_text() == ADD
    assert sorted(path.suffix for path in entry.parent.iterdir()) == [".c", ".so"]
    assert list(folder.iterdir()) == [entry.parent]


def test_of_several_texts_those_that_are_missing_are_compiled(compiler, monkeypatch):
    texts = [ADD, ADD.replace("+", "-"), ADD.replace("+", "*"), ADD]
    toolchain.compiled(ADD)
    made = []
    run = toolchain._run
    monkeypatch.setattr(toolchain, "_run", lambda *given: (made.append(given), run(*given)))
    for count in (2, 2):
        assert [library.add(7, 2) for library in toolchain.load_all(texts)] == [9, 5, 14, 9]
        assert len(made) == count


@pytest.mark.parametrize(
    "damage", [lambda entry: entry.write_bytes(b""), lambda entry: entry.write_bytes(b"\x7fELF junk")]
)
def test_a_damaged_entry_is_compiled_again(compiler, damage):
    entry = toolchain.compiled(ADD)
    damage(entry)
    again = toolchain.compiled(ADD)
    assert again.stat().st_size > 1000
    assert ctypes.CDLL(str(again)).add(1, 1) == 2


def test_text_flags_compiler_and_processor_are_part_of_the_name(compiler, monkeypatch):
    names = {toolchain.key(ADD, compiler), toolchain.key(ADD + " ", compiler)}
    names.add(toolchain.key(ADD, compiler._replace(identity="another")))
    monkeypatch.setattr(toolchain, "_FLAGS", ("-O1",))
    names.add(toolchain.key(ADD, compiler))
    monkeypatch.setattr(toolchain, "processor", lambda: "another")
    names.add(toolchain.key(ADD, compiler))
    assert len(names) == 5


def test_no_flag_changes_what_floating_point_means(compiler):
    forbidden = {"-ffast-math", "-Ofast", "-funsafe-math-optimizations", "-ffinite-math-only", "-fassociative-math"}
    assert not forbidden & set(compiler.flags)


def test_errors_of_the_compiler_are_reported(compiler):
    with pytest.raises(toolchain.Unavailable, match="failed with status"):
        toolchain.load("this is no C")
    assert not list(toolchain.folder().glob("tmp*"))


def test_a_compiler_that_cc_names_is_taken_and_missed(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    with pytest.raises(toolchain.Unavailable, match="no-such-compiler"):
        toolchain.compiler()


def test_without_a_compiler_the_message_says_what_to_install(monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(toolchain.Unavailable, match=r"torchlite\[native\]"):
        toolchain.compiler()


def test_a_folder_that_others_can_write_is_refused(own_cache):
    toolchain.folder().chmod(0o777)
    with pytest.raises(toolchain.Unavailable, match="other users"):
        toolchain.folder()


def test_a_cache_that_can_not_be_made_gives_one_warning_and_none(own_cache, monkeypatch):
    (own_cache / "torchlite").write_text("a file where the folder should be")
    fresh(monkeypatch)
    with pytest.warns(RuntimeWarning, match="NumPy alone"):
        assert kernel("elementwise.gelu") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernel("rows.softmax") is None
    fresh(monkeypatch)


@pytest.mark.parametrize(("processors", "texts"), [(1, 1), (2, 2)])
def test_a_gradient_is_compiled_beside_its_operator_and_nothing_else_is(
    compiler, own_cache, monkeypatch, processors, texts
):
    fresh(monkeypatch)
    monkeypatch.setattr(toolchain, "processors", lambda: processors)
    x = np.ones((4, 5), np.float32)
    assert kernel("rows.softmax")(x, dim=1) is not None
    folder = own_cache / "torchlite" / "native"
    assert len(list(folder.glob("*/*.so"))) == texts + 1  # and the pool
    assert kernel("rows.softmax_grad")(x, x, dim=1) is not None
    assert len(list(folder.glob("*/*.so"))) == 3
    fresh(monkeypatch)


def test_a_kernel_that_can_not_be_compiled_when_it_is_called_gives_one_warning_and_none(compiler, monkeypatch):
    fresh(monkeypatch)
    tried = []

    def fail(*_):
        tried.append(1)
        raise toolchain.Unavailable("out of order")

    monkeypatch.setattr(toolchain, "_run", fail)
    x = np.ones((4, 5), np.float32)
    with pytest.warns(RuntimeWarning, match="out of order"):
        assert kernel("rows.softmax")(x, dim=1) is None
    assert tried
    tried.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernel("rows.softmax")(x, dim=1) is None
    assert not tried
    fresh(monkeypatch)


def test_kernels_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("TORCHLITE_NATIVE", "0")
    kernel.cache_clear()
    assert kernel("elementwise.gelu") is None
    kernel.cache_clear()


def test_importing_and_small_operators_compile_nothing(own_cache):
    text = """
import torchlite as torch
x = torch.randn(10, 10, requires_grad=True)
torch.nn.functional.gelu(x).softmax(-1).sum().backward()
"""
    assert program(text).returncode == 0
    assert not (own_cache / "torchlite").exists()


def test_processes_that_compile_the_same_texts_at_once_all_succeed(compiler):
    text = """
import torchlite as torch
f = torch.compile(lambda x: torch.nn.functional.gelu(x) * 2 + x)
x = torch.ones(1 << 16)
assert all(f(x).eq(f(x)).all() for _ in range(3)) and f.source
"""
    started = [subprocess.Popen([sys.executable, "-W", "error", "-c", text]) for _ in range(2)]
    assert [process.wait() for process in started] == [0, 0]
    folder = Path(toolchain.folder())
    assert len(list(folder.glob("*/*.so"))) >= 3  # the pool, the operator's kernel, the program's
    assert not list(folder.glob("tmp*"))


def test_kernels_leave_denormal_numbers_alone(compiler, monkeypatch):
    fresh(monkeypatch)
    gelu = kernel("elementwise.gelu")
    assert gelu is not None
    gelu(np.ones(1 << 16, np.float32), approximate="none")
    assert np.float32(1e-40) * np.float32(0.5) > 0
    fresh(monkeypatch)
