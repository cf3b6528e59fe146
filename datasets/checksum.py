"""Whether a file on disk is the one that a card describes."""

import gzip
import hashlib
import zlib
from pathlib import Path
from typing import BinaryIO

from torchlite.datasets.catalogue import File, Unpacked

_CHUNK = 1 << 20


def mismatch(path: Path, file: File) -> str | None:
    """Why the packed file at `path` is not `file`, or None when it is."""
    size = path.stat().st_size
    if size != file.size_bytes:
        return f"has {size} bytes, expected {file.size_bytes}"
    for algorithm in ("sha256", "md5"):
        expected = getattr(file, algorithm)
        if expected is not None:
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, algorithm).hexdigest()
            if found != expected:
                return f"has {algorithm} {found}, expected {expected}"
    return None


def unpacked_mismatch(path: Path, unpacked: Unpacked) -> str | None:
    """Why the content at `path`, gzip-compressed or not, is not what `unpacked` says, or None when it is.

    A folder, or content whose checksum is not known, passes: its reader checks the layout.
    """
    if path.is_dir() or unpacked.sha256 is None:
        return None
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                size, found = _capped_sha256(stream, unpacked)
        else:
            with path.open("rb") as stream:
                size, found = _capped_sha256(stream, unpacked)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        return f"has damaged gzip data ({error})"
    if unpacked.size_bytes is not None and size != unpacked.size_bytes:
        return f"holds {'more' if size > unpacked.size_bytes else 'less'} than {unpacked.size_bytes} bytes"
    if found != unpacked.sha256:
        return f"holds content of sha256 {found}, expected {unpacked.sha256}"
    return None


def _capped_sha256(stream: BinaryIO | gzip.GzipFile, unpacked: Unpacked) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
        # A small .gz can inflate to a thousand times its size: stop at the first byte too many.
        if unpacked.size_bytes is not None and size > unpacked.size_bytes:
            break
    return size, digest.hexdigest()
