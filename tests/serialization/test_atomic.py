import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from torchlite.serialization.atomic import recover, remove_folder, write_file, write_folder


@pytest.fixture
def umask() -> Iterator[None]:
    old = os.umask(0o027)
    yield
    os.umask(old)


@pytest.fixture(scope="module")
def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("umask")
def test_new_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    write_file(tmp_path / "a", [b"x", memoryview(b"yz")])
    assert (tmp_path / "a").read_bytes() == b"xyz"
    assert mode(tmp_path / "a") == 0o640
    with write_folder(tmp_path / "folder") as files:
        files.write("b", [b"1"])
    assert mode(tmp_path / "folder" / "b") == 0o640


def test_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o604)
    write_file(path, [b"new"])
    assert path.read_bytes() == b"new" and mode(path) == 0o604


def test_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    write_file(tmp_path / "link", [b"new"])
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_bytes() == b"new"


def test_what_is_not_a_regular_file_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_file(tmp_path, [b""])
    with pytest.raises(OSError, match="not a regular file") as caught:
        write_file(os.devnull, [b"x"])
    assert caught.value.filename == os.path.realpath(os.devnull)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_file(tmp_path / "missing" / "a", [b""])
    assert caught.value.filename == str(tmp_path / "missing" / "a")


def test_error_of_the_chunks_keeps_the_old_file(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise ZeroDivisionError

    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        write_file(tmp_path / "a", chunks())
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def test_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), write_folder(tmp_path / "folder") as files:
        files.write("a", [b"x"])
        raise ZeroDivisionError
    assert names(tmp_path) == []
    for content in (b"1", b"2"):
        with write_folder(tmp_path / "folder") as files:
            files.write("a", [content])
            assert "folder" not in names(tmp_path) or (tmp_path / "folder" / "a").read_bytes() == b"1"
    assert names(tmp_path) == ["folder"] and (tmp_path / "folder" / "a").read_bytes() == b"2"


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    write_file(tmp_path / "a", [b"0123456789"])
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_recover_removes_what_dead_processes_left(tmp_path: Path, dead_pid: int) -> None:
    (tmp_path / f"step-1.tmp-{dead_pid}-0").mkdir()
    (tmp_path / f"step-1.tmp-{dead_pid}-0" / "file").touch()
    (tmp_path / f"last.json.tmp-{dead_pid}-1").touch()
    (tmp_path / f"mine.tmp-{os.getpid()}-99999").touch()
    (tmp_path / f"alive.tmp-{os.getppid()}-0").touch()
    (tmp_path / "note.tmp").touch()
    assert len(recover(tmp_path)) == 3
    assert names(tmp_path) == [f"alive.tmp-{os.getppid()}-0", "note.tmp"]


def test_recover_leaves_what_this_process_is_writing(tmp_path: Path) -> None:
    with write_folder(tmp_path / "folder") as files:
        files.write("a", [b"x"])
        assert recover(tmp_path) == []
    assert names(tmp_path) == ["folder"]


def test_recover_puts_back_a_folder_whose_successor_never_came(tmp_path: Path, dead_pid: int) -> None:
    (tmp_path / f"old.replaced-{dead_pid}-0").mkdir()
    (tmp_path / f"new.replaced-{dead_pid}-1").mkdir()
    (tmp_path / "new").mkdir()
    recover(tmp_path)
    assert names(tmp_path) == ["new", "old"]


def test_recover_does_not_follow_links(tmp_path: Path, dead_pid: int) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / f"x.tmp-{dead_pid}-0").symlink_to("precious")
    recover(tmp_path)
    assert names(tmp_path) == ["precious"] and names(tmp_path / "precious") == ["file"]


def test_remove_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    remove_folder(tmp_path / "a")
    assert names(tmp_path) == []
    with pytest.raises(OSError) as caught:
        remove_folder(tmp_path / "a")
    assert caught.value.errno == errno.ENOENT
