"""Writing files so that a crash, a full disk or a kill leaves the old content or the new, never half of it.

The order is always: write under a temporary name in the same folder, fsync the file, rename it over the
old one, fsync the folder. Temporary names end in ``.tmp-<pid>-<n>`` (or ``.replaced-…``), so that what a
killed process left behind can be told from what a living one is writing.
"""

import errno
import itertools
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

Chunks: TypeAlias = Iterable[Any]
"""Buffers (bytes, memoryviews, contiguous arrays) to be written one after another."""

_LEFTOVER = re.compile(r"(.+)\.(tmp|replaced)-(\d+)-\d+")
_BIGGEST_WRITE = 1 << 26
_sequence = itertools.count()
_in_progress: set[str] = set()


def write_file(path: str | os.PathLike[str], chunks: Chunks) -> None:
    """Replace the content of ``path`` by ``chunks``, durably and in one step.

    The permissions of a file that is replaced are kept; a new file gets those that the umask leaves. A
    symbolic link stays a link, its target is replaced.

    Raises:
        OSError: the write failed; its ``errno`` and ``filename`` say why and where. The old file is as it was
            (only if the very last step failed, the fsync of the folder, the new one is there already).
    """
    target = Path(os.path.realpath(path))
    mode = _mode_to_keep(target)
    with _temporary(target) as temporary:
        _write_durably(temporary, chunks)
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, target)
        fsync_folder(target.parent)


class FolderWriter:
    """Writes the files of a folder that does not have its final name yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, name: str, chunks: Chunks) -> None:
        """Write one file and fsync it."""
        _write_durably(self._folder / name, chunks)


@contextmanager
def write_folder(path: str | os.PathLike[str]) -> Iterator[FolderWriter]:
    """Create or replace the folder ``path`` with all of its files or, when anything fails, not at all.

    A folder cannot be renamed over another: the old one steps aside first, and `recover` puts it back if the
    process dies at that moment.

    Raises:
        OSError: the write failed; its ``errno`` and ``filename`` say why and where.
    """
    target = Path(os.path.realpath(path))
    with _temporary(target) as temporary:
        os.mkdir(temporary)
        yield FolderWriter(temporary)
        fsync_folder(temporary)
        replaced = target.with_name(temporary.name.replace(".tmp-", ".replaced-"))
        if target.exists():
            os.rename(target, replaced)
        try:
            os.rename(temporary, target)
        except BaseException:
            if replaced.exists():
                os.rename(replaced, target)
            raise
        fsync_folder(target.parent)
        _remove(replaced)


def remove_folder(path: str | os.PathLike[str]) -> None:
    """Delete a folder so that its name never stands for half of it: rename it away, then remove it."""
    with _temporary(Path(os.path.realpath(path))) as temporary:
        os.rename(path, temporary)


def recover(folder: str | os.PathLike[str]) -> list[Path]:
    """Tidy up after processes that died while writing in ``folder``; returns the names that were removed.

    Temporary files and folders go; a folder that had stepped aside for one that never came is put back.
    """
    removed = []
    for path in sorted(Path(os.path.realpath(folder)).iterdir()):
        match = _LEFTOVER.fullmatch(path.name)
        if not match or str(path) in _in_progress or _is_another_living_process(int(match[3])):
            continue
        original = path.with_name(match[1])
        if match[2] == "replaced" and not original.exists():
            os.rename(path, original)
        else:
            _remove(path)
            removed.append(path)
    return removed


def fsync_folder(folder: str | os.PathLike[str]) -> None:
    """Make the names in ``folder`` durable (on Windows folders cannot be opened, and nothing is done)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """A fresh name beside ``target``; what has it at the end is removed, and errors name ``target``."""
    temporary = target.with_name(f"{target.name}.tmp-{os.getpid()}-{next(_sequence)}")
    _in_progress.add(str(temporary))
    try:
        _remove(temporary)  # of an earlier process with our id
        yield temporary
        _remove(temporary)
    except BaseException as error:
        with suppress(OSError):
            _remove(temporary)
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, f"{os.strerror(error.errno)}, while saving", str(target)) from error
        raise
    finally:
        _in_progress.discard(str(temporary))


def _write_durably(path: Path, chunks: Chunks) -> None:
    """Create ``path`` with the permissions that the umask leaves, write all chunks and fsync it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        for chunk in chunks:
            left = memoryview(chunk).cast("B")
            while left:
                left = left[os.write(descriptor, left[:_BIGGEST_WRITE]) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mode_to_keep(target: Path) -> int | None:
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file, so it cannot be replaced in one step", str(target))
    return stat.S_IMODE(mode)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_another_living_process(pid: int) -> bool:
    if pid == os.getpid():
        return False
    if os.name == "nt":
        return True  # os.kill would end that process there, and nothing else in the standard library can ask
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
