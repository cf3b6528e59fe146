"""Fetch one file over https: resumed, capped, verified, and in place only when it is whole and right."""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit

from torchlite.datasets.catalogue import File
from torchlite.datasets.checksum import mismatch
from torchlite.errors import DataError

Progress = Callable[[str, int, int], None]
"""Called with the file's name, the bytes that are there so far, and the bytes in all."""

_CHUNK = 1 << 18
_TIMEOUT_S = 30.0


class Opener(Protocol):
    """What opens a request; `urllib.request.OpenerDirector` is one."""

    def open(self, request: urllib.request.Request, *, timeout: float) -> Any:
        """The response: a file object with `status` and `headers`."""


def download(file: File, folder: Path, *, progress: Progress | None = None, opener: Opener | None = None) -> Path:
    """Fetch `file` into `folder` and return its path; a copy that is there and right is not fetched again.

    Each of the file's URLs is tried in turn. What an interrupted download left (`<name>.part`) is continued.
    The file takes its name by an atomic rename after size and checksum were verified, so it is never seen
    half-written; processes that want the same file at once wait for each other.

    Raises:
        DataError: a URL is not https, or no URL gave the file; the message says for each why not.
    """
    for url in file.urls:
        if not _is_https(url):
            raise DataError(f"datasets are downloaded over https only, got {url}")
    opener = opener or urllib.request.build_opener(_HttpsRedirects)
    folder.mkdir(parents=True, exist_ok=True)
    target, partial = folder / file.name, folder / f"{file.name}.part"
    failures = []
    with _locked(folder / f"{file.name}.lock"):
        if target.exists() and mismatch(target, file) is None:
            return target
        if partial.exists() and partial.stat().st_size >= file.size_bytes and mismatch(partial, file):
            partial.unlink()
        for url in file.urls:
            try:
                _fetch(url, partial, file, progress, opener)
            except (OSError, HTTPException, _Refused) as error:
                failures.append(f"  {url}: {error}")
                continue
            reason = mismatch(partial, file)
            if reason is None:
                os.replace(partial, target)
                return target
            partial.unlink()
            failures.append(f"  {url}: what came {reason}")
    raise DataError(f"could not download {file.name}:\n" + "\n".join(failures))


class _Refused(Exception):
    """A response that must not be stored."""


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not away from https."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not _is_https(newurl):
            raise _Refused(f"datasets are downloaded over https only, it redirects to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_https(url: str) -> bool:
    return urlsplit(url).scheme == "https"


def _fetch(url: str, partial: Path, file: File, progress: Progress | None, opener: Opener) -> None:
    """Append to `partial` what it lacks of `file`."""
    have = partial.stat().st_size if partial.exists() else 0
    if have == file.size_bytes:
        return
    headers = {"User-Agent": "torchlite", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with opener.open(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S) as response:
        continued = response.status == 206
        if continued and not (response.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
            raise _Refused(f"asked to continue at byte {have}, got {response.headers.get('Content-Range')}")
        # A server that does not know Range answers 200 and sends everything again.
        with partial.open("ab" if continued else "wb") as out:
            _copy(response, out, have if continued else 0, file, progress)
            out.flush()
            os.fsync(out.fileno())


def _copy(response: Any, out: BinaryIO, have: int, file: File, progress: Progress | None) -> None:
    while chunk := response.read(_CHUNK):
        have += len(chunk)
        if have > file.size_bytes:
            out.truncate(0)
            raise _Refused(f"more came than the {file.size_bytes} bytes expected")
        out.write(chunk)
        if progress is not None:
            progress(file.name, have, file.size_bytes)
    if have < file.size_bytes:
        raise _Refused(f"the connection ended after {have} of {file.size_bytes} bytes; run again to continue")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path` between processes, where the system has such locks."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
