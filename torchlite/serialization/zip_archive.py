"""Zip archives, read strictly and written deterministically.

Only what ``torch.save`` and ``numpy.savez`` write is accepted: one disk, no comments, no encryption, members
that follow one another from the first byte to the central directory without gap or overlap. So two
programs cannot see two different archives in one file, and what is read is never more than the file holds.
Layout: PKWARE APPNOTE 6.3.9.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from torchlite.serialization.limits import Limits
from torchlite.serialization.source import Source

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")

_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _DESCRIPTOR, _UTF8 = 1 << 0, 1 << 3, 1 << 11
_KNOWN_FLAGS = _DESCRIPTOR | _UTF8 | 0b110
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_ZIP64_EXTRA, _PADDING_EXTRA = 0x0001, 0x4246
_LONGEST_NAME = 512
_DOS_DATE_1980 = (1 << 5) | 1


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive: where its bytes lie in the archive and what they must add up to."""

    name: str
    offset: int
    stored_size: int
    size: int
    crc: int
    compressed: bool


class ZipArchive:
    """The members of an archive; everything about their layout is checked before any content is read."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.source = source
        self.members: dict[str, Member] = {}
        entries_at, entries_end, count = self._find_directory()
        if count > limits.archive_members:
            raise source.damaged(f"the archive has {count} members, more than the limit of {limits.archive_members}")
        if count * _CENTRAL.size > entries_end - entries_at:
            raise source.damaged(f"the central directory is too small for its {count} members")
        self._read_directory(entries_at, entries_end, count)
        inflated = sum(member.size for member in self.members.values() if member.compressed)
        allowed = limits.inflate_floor_bytes + limits.inflate_ratio * source.size
        if inflated > allowed:
            raise source.damaged(f"its members inflate to {inflated} bytes, more than the limit of {allowed}")

    def read(self, member: Member) -> bytes:
        """The content of a member, inflated if it was compressed, its CRC-32 checked."""
        data = self.source.read(member.offset, member.stored_size)
        if member.compressed:
            data = self._inflate(member, data)
        self._check_crc(member, data)
        return data

    def read_array(self, member: Member) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The content of a stored member as a new array of uint8, its CRC-32 checked."""
        if member.compressed:
            raise self.source.damaged(f"{member.name} is compressed, which is not expected here")
        data = self.source.read_array(member.offset, member.stored_size)
        self._check_crc(member, data)
        return data

    def _check_crc(self, member: Member, data: Any) -> None:
        crc = zlib.crc32(data)
        if crc != member.crc:
            hint = "" if member.crc else " (written without checksums? PyTorch has an option for that)"
            raise self.source.damaged(
                f"{member.name} is damaged: its CRC-32 is {crc:08x}, the archive says {member.crc:08x}{hint}"
            )

    def _inflate(self, member: Member, data: bytes) -> bytes:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = inflater.decompress(data, member.size + 1)
        except zlib.error as error:
            raise self.source.damaged(f"{member.name} cannot be inflated: {error}") from None
        if len(content) != member.size or not inflater.eof or inflater.unused_data:
            raise self.source.damaged(f"{member.name} does not inflate to the {member.size} bytes that are declared")
        return content

    def _find_directory(self) -> tuple[int, int, int]:
        """Where the central directory begins and ends, and how many entries it has."""
        source = self.source
        end_at = source.size - _END.size
        if end_at < 0 or source.read(0, 4) not in (b"PK\x03\x04", b"PK\x05\x06"):
            raise source.damaged("not a zip archive (it does not begin with 'PK')")
        magic, disk, first_disk, here, count, size, offset, comment = _END.unpack(source.read(end_at, _END.size))
        if magic != b"PK\x05\x06" or comment:
            raise source.damaged("the end of the zip archive is missing: truncated, or bytes were added after it")
        if disk or first_disk or here != count:
            raise source.damaged("the zip archive claims to be split over several disks")
        directory_end = end_at
        locator_at = end_at - _LOCATOR64.size
        if locator_at >= _END64.size:
            magic, disk, end64_at, disks = _LOCATOR64.unpack(source.read(locator_at, _LOCATOR64.size))
            if magic == b"PK\x06\x07":
                if disk or disks != 1 or end64_at != locator_at - _END64.size:
                    raise source.damaged("the zip64 locator does not point at the end record before it")
                wide = _END64.unpack(source.read(end64_at, _END64.size))
                magic, length, _, _, disk, first_disk, here, count64, size64, offset64 = wide
                agree = all(
                    narrow in (full, value)
                    for narrow, full, value in (
                        (count, _FULL16, count64),
                        (size, _FULL32, size64),
                        (offset, _FULL32, offset64),
                    )
                )
                if magic != b"PK\x06\x06" or length != _END64.size - 12 or disk or first_disk or here != count64:
                    raise source.damaged("the zip64 end record is damaged")
                if not agree:
                    raise source.damaged("the zip64 end record contradicts the end record")
                count, size, offset, directory_end = count64, size64, offset64, end64_at
        if offset + size != directory_end:
            raise source.damaged("the central directory does not reach to the end record")
        return offset, directory_end, count

    def _read_directory(self, begin: int, end: int, count: int) -> None:
        directory = memoryview(self.source.read(begin, end - begin))
        position = 0
        reached = 0  # the end of the member before: members must lie in the directory's order
        for _ in range(count):
            if position + _CENTRAL.size > len(directory):
                raise self.source.damaged("the central directory is truncated")
            fields = _CENTRAL.unpack_from(directory, position)
            magic, _, _, flags, method, _, _, crc, stored_size, size = fields[:10]
            name_length, extra_length, comment_length, disk, _, _, header_at = fields[10:]
            name_at = position + _CENTRAL.size
            extra_at = name_at + name_length
            position = extra_at + extra_length
            if magic != b"PK\x01\x02" or comment_length or disk or position > len(directory):
                raise self.source.damaged("an entry of the central directory is damaged")
            raw_name = bytes(directory[name_at:extra_at])
            name = self._checked_name(raw_name)
            size, stored_size, header_at = self._widen(
                name, bytes(directory[extra_at:position]), (size, stored_size, header_at)
            )
            if flags & _ENCRYPTED or flags & ~_KNOWN_FLAGS or method not in (_STORED, _DEFLATED):
                raise self.source.damaged(f"{name} is encrypted or compressed by an unsupported method")
            if method == _STORED and stored_size != size:
                raise self.source.damaged(f"{name} is stored in {stored_size} bytes but declares {size}")
            if name in self.members:
                raise self.source.damaged(f"{name} is in the archive twice")
            if header_at != reached:
                raise self.source.damaged(f"{name} begins at byte {header_at}, expected {reached}: overlap or gap")
            data_at = self._check_local_header(name, raw_name, header_at, flags, method, crc, stored_size, size)
            reached = self._after_descriptor(name, data_at + stored_size, flags, crc, stored_size, size)
            if reached > begin:
                raise self.source.damaged(f"{name} reaches into the central directory")
            self.members[name] = Member(name, data_at, stored_size, size, crc, method == _DEFLATED)
        if position != len(directory) or reached != begin:
            raise self.source.damaged("the archive has bytes that belong to no member")

    def _checked_name(self, raw: bytes) -> str:
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.source.damaged(f"the member name {raw[:64]!r} is not UTF-8") from None
        if not _is_plain_path(name):
            raise self.source.damaged(f"the member name {name[:64]!r} is not a plain relative path of a file")
        return name

    def _widen(self, name: str, extra: bytes, narrow: tuple[int, int, int]) -> tuple[int, int, int]:
        """Replace the fields that are full by those of the zip64 extra field."""
        wide = b""
        position = 0
        while position < len(extra):
            if position + 4 > len(extra):
                raise self.source.damaged(f"the extra field of {name} is damaged")
            tag, length = struct.unpack_from("<2H", extra, position)
            position += 4 + length
            if position > len(extra):
                raise self.source.damaged(f"the extra field of {name} is damaged")
            if tag == _ZIP64_EXTRA:
                if wide:
                    raise self.source.damaged(f"{name} has two zip64 fields")
                wide = extra[position - length : position]
        values = []
        at = 0
        for value in narrow:
            if value == _FULL32:
                if at + 8 > len(wide):
                    raise self.source.damaged(f"the zip64 field of {name} is missing or too short")
                (value,) = struct.unpack_from("<Q", wide, at)
                at += 8
            values.append(value)
        return values[0], values[1], values[2]

    def _check_local_header(
        self,
        name: str,
        raw_name: bytes,
        at: int,
        flags: int,
        method: int,
        crc: int,
        stored_size: int,
        size: int,
    ) -> int:
        """Where the data of a member begins; the local header must say what the central directory says."""
        header = _LOCAL.unpack(self.source.read(at, _LOCAL.size))
        magic, _, local_flags, local_method, _, _, local_crc, local_stored, local_size, name_length, extra = header
        if magic != b"PK\x03\x04" or local_flags != flags or local_method != method:
            raise self.source.damaged(f"the local header of {name} contradicts the central directory")
        if self.source.read(at + _LOCAL.size, name_length) != raw_name:
            raise self.source.damaged(f"the local header of {name} has another name")
        # Writers that stream put zeros here and the values behind the data; wide values are in a zip64 field.
        for local, central in ((local_crc, crc), (local_stored, stored_size), (local_size, size)):
            if local not in (central, _FULL32) and not (flags & _DESCRIPTOR and local == 0):
                raise self.source.damaged(f"the local header of {name} contradicts the central directory")
        data_at: int = at + _LOCAL.size + name_length + extra
        return data_at

    def _after_descriptor(self, name: str, data_end: int, flags: int, crc: int, stored: int, size: int) -> int:
        """Where the next member begins: behind the data and, in streamed archives, its descriptor."""
        if not flags & _DESCRIPTOR:
            return data_end
        tail = self.source.read(data_end, min(24, self.source.size - data_end)) if data_end < self.source.size else b""
        for sizes in ("<2Q", "<2I"):
            if sizes == "<2I" and max(stored, size) > _FULL32:
                continue
            descriptor = struct.pack("<I", crc) + struct.pack(sizes, stored, size)
            for signature in (b"PK\x07\x08", b""):
                if tail.startswith(signature + descriptor):
                    return data_end + len(signature) + len(descriptor)
        raise self.source.damaged(f"the data descriptor of {name} is damaged")


def zip_chunks(members: Iterable[tuple[str, Any]], *, alignment: int = 1) -> Iterator[Any]:
    """The bytes of an archive of stored ``(name, buffer)`` members, in pieces that can be written in turn.

    The data of each member begins at a multiple of ``alignment``, so that storages can be mapped into memory.
    The same members give the same bytes, whenever and wherever they are written.

    Raises:
        ValueError: a name is not a plain relative path.
    """
    position = 0
    central = []
    for name, buffer in members:
        if not _is_plain_path(name):
            raise ValueError(f"{name!r} cannot be the name of a member of a zip archive: not a plain relative path")
        data = memoryview(buffer).cast("B")
        raw_name = name.encode("utf-8")
        header_at, size, crc = position, data.nbytes, zlib.crc32(data)
        wide_size = size >= _FULL32
        extra = struct.pack("<2H2Q", _ZIP64_EXTRA, 16, size, size) if wide_size else b""
        extra += _padding(position + _LOCAL.size + len(raw_name) + len(extra), alignment)
        narrow_size = _FULL32 if wide_size else size
        version = 45 if wide_size else 20
        header = _LOCAL.pack(
            *(b"PK\x03\x04", version, _UTF8, _STORED, 0, _DOS_DATE_1980),
            *(crc, narrow_size, narrow_size, len(raw_name), len(extra)),
        )
        yield header + raw_name + extra
        yield data
        position += len(header) + len(raw_name) + len(extra) + size

        wide = struct.pack("<2Q", size, size) if wide_size else b""
        wide += struct.pack("<Q", header_at) if header_at >= _FULL32 else b""
        extra = struct.pack("<2H", _ZIP64_EXTRA, len(wide)) + wide if wide else b""
        entry = _CENTRAL.pack(
            *(b"PK\x01\x02", 45, 45 if wide else 20, _UTF8, _STORED, 0, _DOS_DATE_1980),
            *(crc, narrow_size, narrow_size, len(raw_name), len(extra), 0, 0, 0, 0),
            min(header_at, _FULL32),
        )
        central.append(entry + raw_name + extra)
    directory = b"".join(central)
    yield directory
    count, size = len(central), len(directory)
    if count >= _FULL16 or position >= _FULL32 or size >= _FULL32:
        end64_at = position + size
        yield _END64.pack(b"PK\x06\x06", _END64.size - 12, 45, 45, 0, 0, count, count, size, position)
        yield _LOCATOR64.pack(b"PK\x06\x07", 0, end64_at, 1)
    narrow_count = min(count, _FULL16)
    yield _END.pack(b"PK\x05\x06", 0, 0, narrow_count, narrow_count, min(size, _FULL32), min(position, _FULL32), 0)


def _is_plain_path(name: str) -> bool:
    """Relative, of ordinary parts, without what some system takes for a separator, a drive or an end."""
    ordinary = all(part not in ("", ".", "..") for part in name.split("/"))
    return ordinary and len(name) <= _LONGEST_NAME and "\\" not in name and "\0" not in name and name[1:2] != ":"


def _padding(data_at: int, alignment: int) -> bytes:
    """An extra field that moves the data to a multiple of ``alignment``."""
    missing = -data_at % alignment
    if not missing:
        return b""
    while missing < 4:
        missing += alignment
    return struct.pack("<2H", _PADDING_EXTRA, missing - 4) + b"Z" * (missing - 4)
