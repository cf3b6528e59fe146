import io
import zipfile
from typing import Any

import pytest

from torchlite.errors import FormatError
from torchlite.serialization.limits import DEFAULT_LIMITS, Limits
from torchlite.serialization.source import open_source
from torchlite.serialization.zip_archive import ZipArchive, zip_chunks


def written(members: list[tuple[str, bytes]], **options: Any) -> bytes:
    return b"".join(bytes(chunk) for chunk in zip_chunks(members, **options))


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> dict[str, bytes]:
    with open_source(data) as source:
        archive = ZipArchive(source, limits)
        return {name: archive.read(member) for name, member in archive.members.items()}


def test_python_reads_what_is_written() -> None:
    members = [("a/ü.txt", b"one"), ("empty", b""), ("b", bytes(range(256)))]
    with zipfile.ZipFile(io.BytesIO(written(members, alignment=64))) as file:
        assert file.testzip() is None
        assert [(name, file.read(name)) for name in file.namelist()] == members
    assert read(written(members)) == dict(members)


@pytest.mark.parametrize("alignment", [1, 2, 8, 64])
def test_data_is_aligned(alignment: int) -> None:
    members = [("x" * length, bytes(length)) for length in range(1, 70)]
    with open_source(written(members, alignment=alignment)) as source:
        for member in ZipArchive(source, DEFAULT_LIMITS).members.values():
            assert member.offset % alignment == 0


def test_more_members_than_16_bits_count() -> None:
    members = [(str(number), b"") for number in range(65_536)]
    data = written(members)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert len(file.namelist()) == 65_536
    assert len(read(data)) == 65_536
    with pytest.raises(FormatError, match="limit of 1000"):
        read(data, Limits(archive_members=1000))


class Stream(io.RawIOBase):
    """Not seekable, so that zipfile writes data descriptors."""

    def __init__(self) -> None:
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.content += bytes(data)
        return len(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("wide", [False, True])
def test_streamed_archives_are_read(method: int, wide: bool) -> None:
    stream = Stream()
    with zipfile.ZipFile(stream, "w", method) as file:
        for name in ("a", "b"):
            with file.open(name, "w", force_zip64=wide) as member:
                member.write(name.encode() * 1000)
    assert read(stream.content) == {"a": b"a" * 1000, "b": b"b" * 1000}


def test_inflation_is_limited_by_the_size_of_the_file() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(1 << 20))
    limits = Limits(inflate_floor_bytes=0)
    with pytest.raises(FormatError, match="inflate to 1048576 bytes"):
        read(buffer.getvalue(), limits)
    assert read(buffer.getvalue(), Limits(inflate_floor_bytes=1 << 20))["zeros"] == bytes(1 << 20)


@pytest.mark.parametrize("name", ["", "/a", "a/", "../a", "a/../b", "./a", "a\\b", "C:a", "a\0b", "x" * 513])
def test_names_that_would_not_be_read_are_not_written(name: str) -> None:
    with pytest.raises(ValueError, match="plain relative path"):
        written([(name, b"")])
