"""From C text to functions that can be called: a compiler found on the machine, and a cache on disk.

An entry of the cache lies in a folder that is named after everything that it depends on (the text, the flags, the compiler,
the processor), and is itself named after its content: another text never finds it, and one that was damaged is compiled
again. Compilers write beside the cache's entries and the result is renamed, so processes that compile the same text at once
don't disturb each other.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

_SECONDS = 300  # after which a compiler has hung
# No flag may let a compiler assume that NaN, infinities or signed zeros do not occur, or link code that sets the processor's
# denormal mode, as -ffast-math does. Without the three here it would not turn loops with branches into vector code:
# errno and floating-point traps are not looked at, and `#pragma omp simd` marks the sums whose order does not matter.
_FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-pthread", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd")
_FOR_PROCESSOR = {
    "x86_64": ("-march=native", "-mprefer-vector-width=512"),
    "aarch64": ("-mcpu=native",),
    "arm64": ("-mcpu=native",),
}


class Unavailable(RuntimeError):
    """C can't be compiled here; the message says why and what would help."""


class Compiler(NamedTuple):
    """A command that compiles C, and what tells it from other versions of itself."""

    command: tuple[str, ...]
    identity: str

    @property
    def flags(self) -> tuple[str, ...]:
        """What it is called with, besides the files; ``TORCHLITE_CFLAGS`` replaces those that choose the processor.

        ``TORCHLITE_CFLAGS=-march=haswell`` compiles for AVX2, ``-march=x86-64`` for the oldest processors.
        """
        given = os.environ.get("TORCHLITE_CFLAGS")
        target = _FOR_PROCESSOR.get(platform.machine(), ()) if given is None else shlex.split(given)
        return (*_FLAGS, *target)


def enabled() -> bool:
    """Whether compiled kernels are wanted: the variable ``TORCHLITE_NATIVE`` is not 0."""
    return os.environ.get("TORCHLITE_NATIVE", "") != "0"


def available() -> bool:
    """Whether compiled kernels are wanted and there is a compiler."""
    try:
        return enabled() and bool(compiler())
    except Unavailable:
        return False


def ready() -> None:
    """Find the compiler and make the cache.

    Raises:
        Unavailable: when either is missing.
    """
    compiler()
    folder()


def compiler() -> Compiler:
    """The compiler named by ``CC``, or the first of cc, gcc, clang and the ``ziglang`` package that is there.

    Raises:
        Unavailable: when there is none.
    """
    given = shlex.split(os.environ.get("CC", ""))
    for command in [given] if given else [["cc"], ["gcc"], ["clang"]]:
        path = shutil.which(command[0])
        if path is not None:
            return Compiler((path, *command[1:]), " ".join((_stamp(Path(path)), *command[1:])))
    if given:
        raise Unavailable(f"the compiler that CC names, {given[0]!r}, can't be found")
    zig = importlib.util.find_spec("ziglang")
    if zig is not None and zig.origin is not None:
        return Compiler((sys.executable, "-m", "ziglang", "cc"), _stamp(Path(zig.origin).parent / "zig"))
    raise Unavailable(
        'there is no C compiler; install gcc or clang, or pip install "torchlite[native]", which brings one'
    )


def _stamp(path: Path) -> str:
    """What changes when a program is replaced; running it to ask for its version would take longer than loading a kernel."""
    real = path.resolve()
    with contextlib.suppress(OSError):
        status = real.stat()
        return f"{real} {status.st_size} {status.st_mtime_ns}"
    return str(real)


def processors() -> int:
    """How many compilers run at the same time."""
    return os.cpu_count() or 1


@functools.cache
def processor() -> str:
    """The processor's model and instruction sets, for which the compiler generates code."""
    try:
        with open("/proc/cpuinfo") as file:
            text = file.read(1 << 14)
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU implementer", "CPU part")
    lines = [line for line in text.partition("\n\n")[0].splitlines() if line.partition("\t")[0].strip() in wanted]
    return "\n".join([platform.machine(), *lines])


def folder() -> Path:
    """The private folder of compiled kernels, made when it is missing.

    Raises:
        Unavailable: when it can't be written, or belongs to or is open to somebody else, whose code would be run.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    place = (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "torchlite" / "native"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = place.stat()
    except (OSError, RuntimeError) as error:
        raise Unavailable(f"the cache of compiled kernels, {place}, can't be made: {error}") from None
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
        raise Unavailable(
            f"the cache of compiled kernels, {place}, could be changed by other users; make it yours and chmod 700 it"
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise Unavailable(f"the cache of compiled kernels, {place}, can't be written")
    return place


def key(source: str, using: Compiler) -> str:
    """The name of the folder with what ``source`` becomes here."""
    text = "\0".join((source, *using.flags, using.identity, processor()))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def compiled(source: str) -> Path:
    """The shared object of a C text, from the cache or compiled now (some tenths of a second); the text lies beside it.

    Raises:
        Unavailable: without a compiler or a cache, and when the compiler fails; the message has its first errors.
    """
    return _cached(source) or _compiled_now(source)


def _cached(source: str) -> Path | None:
    if os.name != "posix":
        raise Unavailable(f"kernels need POSIX threads, which {platform.system()} does not have")
    for entry in sorted((folder() / key(source, compiler())).glob("*.so")):
        if _digest(entry) == entry.stem:
            return entry
        entry.unlink(missing_ok=True)
    return None


def _compiled_now(source: str) -> Path:
    using, place = compiler(), folder()
    with _scratch(place) as scratch:
        (scratch / "kernel.c").write_text(source)
        _run(using, scratch / "kernel.c", scratch / "kernel.so")
        entry = place / key(source, using) / f"{_digest(scratch / 'kernel.so')}.so"
        entry.parent.mkdir(mode=0o700, exist_ok=True)
        os.replace(scratch / "kernel.c", entry.with_name("kernel.c"))
        os.replace(scratch / "kernel.so", entry)
    return entry


def compiled_together(sources: Sequence[str]) -> list[Path]:
    """The shared objects of several texts; those that are not in the cache as many processors compile as there are.

    Raises:
        Unavailable: as `compiled`.
    """
    paths = {source: _cached(source) for source in sources}
    missing = [source for source, path in paths.items() if path is None]
    if len(missing) < 2:
        made = {source: _compiled_now(source) for source in missing}
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(len(missing), processors())) as threads:
            made = dict(zip(missing, threads.map(_compiled_now, missing), strict=True))
    return [paths[source] or made[source] for source in sources]


def load(source: str) -> ctypes.CDLL:
    """A C text, compiled and loaded.

    Raises:
        Unavailable: as `compiled`, and when the system refuses to load the result.
    """
    return load_all([source])[0]


def load_all(sources: Sequence[str]) -> list[ctypes.CDLL]:
    """C texts, compiled at the same time, and loaded.

    Raises:
        Unavailable: as `compiled`, and when the system refuses to load a result.
    """
    paths = compiled_together(sources)
    try:
        return [ctypes.CDLL(str(path)) for path in paths]
    except OSError as error:
        raise Unavailable(f"what the compiler made can't be loaded: {error}") from None


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError:  # another process has removed it
        return ""


@contextlib.contextmanager
def _scratch(place: Path) -> Iterator[Path]:
    """A folder for the files of one compilation."""
    try:
        scratch = tempfile.TemporaryDirectory(prefix="tmp", dir=place)
    except OSError as error:
        raise Unavailable(f"the cache of compiled kernels, {place}, can't be written: {error}") from None
    with scratch as name:
        try:
            yield Path(name)
        except OSError as error:
            raise Unavailable(f"the cache of compiled kernels, {place}, can't be written: {error}") from None


def _run(using: Compiler, source: Path, target: Path) -> None:
    command = [*using.command, *using.flags, "-o", str(target), str(source), "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"the compiler {using.command[0]} does not work: {error}") from None
    if done.returncode:
        errors = "\n".join(done.stderr.strip().splitlines()[:8])
        raise Unavailable(f"{shlex.join(using.command)} failed with status {done.returncode}:\n{errors}")
