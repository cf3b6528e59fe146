"""The regular members of a tar archive, read in memory from a stream.

The standard library's `tarfile` serves every dialect and every file type, and has had loops and escapes on
hostile archives for it. A dataset needs neither: members that are not regular files (links, devices, folders,
extended headers) are passed over, nothing is ever written to disk, and what may be read is capped.
"""

from collections.abc import Iterator
from typing import Protocol

from torchlite.errors import FormatError

_BLOCK = 512
_NAME, _SIZE, _CHECKSUM, _TYPE = slice(0, 100), slice(124, 136), slice(148, 156), slice(156, 157)
_MAGIC, _PREFIX = slice(257, 263), slice(345, 500)
_REGULAR = (b"0", b"\0")
_CHUNK = 1 << 20


class Readable(Protocol):
    """A stream of bytes that need not be seekable."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; fewer only at the end."""


def regular_members(stream: Readable, *, max_bytes: int, max_members: int = 1000) -> Iterator[tuple[str, bytes]]:
    """Name and content of each regular member, in the archive's order.

    `max_bytes` caps the sum of all members' sizes, also of those passed over.

    Raises:
        FormatError: the archive is damaged, or larger than allowed.
    """
    total = 0
    for _ in range(max_members):
        header = _read(stream, _BLOCK)
        if header == bytes(_BLOCK):
            return
        _verify_checksum(header)
        size = _octal(header[_SIZE], "size")
        total += size
        if total > max_bytes:
            raise FormatError(f"the archive's members exceed the {max_bytes} bytes allowed")
        padding = -size % _BLOCK
        if header[_TYPE] in _REGULAR:
            yield _member_name(header), _read(stream, size)
            _skip(stream, padding)
        else:
            _skip(stream, size + padding)
    raise FormatError(f"the archive has more than the {max_members} members allowed")


def _member_name(header: bytes) -> str:
    name = header[_NAME].split(b"\0", 1)[0]
    if header[_MAGIC] == b"ustar\0" and header[_PREFIX][:1] != b"\0":
        name = header[_PREFIX].split(b"\0", 1)[0] + b"/" + name
    return name.decode("utf-8", errors="replace").removeprefix("./")


def _verify_checksum(header: bytes) -> None:
    recorded = _octal(header[_CHECKSUM], "checksum")
    counted = sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" ")
    if recorded != counted:
        raise FormatError(f"a member's header is damaged: its checksum is {counted}, it says {recorded}")


def _octal(field: bytes, what: str) -> int:
    digits = field.strip(b" \0")
    if not digits or not all(digit in b"01234567" for digit in digits):
        raise FormatError(f"a member's {what} is not an octal number: {field!r}")
    return int(digits, 8)


def _read(stream: Readable, size: int) -> bytes:
    content = stream.read(size)
    if len(content) != size:
        raise FormatError(f"the archive ends early: {size} bytes wanted, {len(content)} left")
    return content


def _skip(stream: Readable, size: int) -> None:
    while size > 0:
        size -= len(_read(stream, min(size, _CHUNK)))
