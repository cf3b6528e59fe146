import hashlib
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.pool import ThreadPool
from urllib.parse import urlsplit

import pytest

from torchlite.datasets.catalogue import File
from torchlite.datasets.download import _HttpsRedirects, download
from torchlite.errors import DataError

CONTENT = bytes(range(256)) * 4000
GOOD = File(
    name="data.bin",
    split="train",
    role="images",
    size_bytes=len(CONTENT),
    urls=("https://mirror.example/good",),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT in a way that the path names, and notes the requests."""

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if self.path == "/missing":
            self.send_error(404)
        elif self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "http://mirror.example/good")
            self.end_headers()
        elif self.path == "/no-range":
            self.reply(200, CONTENT)
        elif self.path == "/wrong-range":
            self.reply(206, CONTENT, "bytes 0-9/10")
        elif self.path == "/corrupt":
            self.reply(200, b"\xff" + CONTENT[1:])
        elif self.path == "/endless":
            self.reply(200, CONTENT + CONTENT)
        elif self.path == "/cut":
            self.reply(200, CONTENT[:300_000], length=len(CONTENT))
        elif start:
            self.reply(206, CONTENT[start:], f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.reply(200, CONTENT)

    def reply(self, status, body, content_range=None, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(length or len(body)))
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        try:
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format, *args):
        pass


class Loopback:
    """Opens https://mirror.example/… at the server of this test: the downloader only ever sees https."""

    def __init__(self, server):
        self.base = f"http://127.0.0.1:{server.server_address[1]}"
        self.opener = urllib.request.build_opener(_HttpsRedirects)

    def open(self, request, *, timeout):
        assert urlsplit(request.full_url).scheme == "https"
        path = urlsplit(request.full_url).path
        inner = urllib.request.Request(self.base + path, headers=dict(request.header_items()))
        return self.opener.open(inner, timeout=timeout)


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def at(*paths, **changes):
    urls = tuple(f"https://mirror.example/{path}" for path in paths)
    return File(**{**vars(GOOD), "urls": urls, **changes})


def test_fetches_verifies_and_reports_progress(server, tmp_path):
    seen = []
    path = download(GOOD, tmp_path / "new", progress=lambda *step: seen.append(step), opener=Loopback(server))
    assert path == tmp_path / "new" / "data.bin" and path.read_bytes() == CONTENT
    assert not path.with_name("data.bin.part").exists()
    assert seen[-1] == ("data.bin", len(CONTENT), len(CONTENT))
    assert [have for _, have, _ in seen] == sorted({have for _, have, _ in seen})


def test_a_good_copy_is_not_fetched_again(server, tmp_path):
    (tmp_path / "data.bin").write_bytes(CONTENT)
    download(GOOD, tmp_path, opener=Loopback(server))
    assert server.requests == []


def test_a_damaged_copy_is_replaced(server, tmp_path):
    (tmp_path / "data.bin").write_bytes(b"damaged")
    assert download(GOOD, tmp_path, opener=Loopback(server)).read_bytes() == CONTENT


def test_a_partial_file_is_continued(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:12345])
    seen = []
    progress = lambda name, have, total: seen.append(have)  # noqa: E731
    assert download(GOOD, tmp_path, progress=progress, opener=Loopback(server)).read_bytes() == CONTENT
    assert server.requests == [("/good", "bytes=12345-")]
    assert seen[0] > 12345


def test_a_whole_partial_file_needs_no_request(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    assert download(GOOD, tmp_path, opener=Loopback(server)).read_bytes() == CONTENT
    assert server.requests == []


@pytest.mark.parametrize("content", [CONTENT + b"more", CONTENT[:-1] + b"x"])
def test_a_partial_file_that_cannot_become_right_is_dropped(server, tmp_path, content):
    (tmp_path / "data.bin.part").write_bytes(content)
    assert download(GOOD, tmp_path, opener=Loopback(server)).read_bytes() == CONTENT
    assert server.requests == [("/good", None)]


def test_a_server_without_ranges_sends_everything_again(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(b"x" * 999)
    assert download(at("no-range"), tmp_path, opener=Loopback(server)).read_bytes() == CONTENT


def test_a_connection_that_ends_early_is_continued_by_the_next_mirror(server, tmp_path):
    assert download(at("cut", "good"), tmp_path, opener=Loopback(server)).read_bytes() == CONTENT
    assert server.requests == [("/cut", None), ("/good", "bytes=300000-")]


def test_a_connection_that_ends_early_leaves_what_came(server, tmp_path):
    with pytest.raises(DataError, match="ended after 300000 of 1024000 bytes; run again to continue"):
        download(at("cut"), tmp_path, opener=Loopback(server))
    assert (tmp_path / "data.bin.part").read_bytes() == CONTENT[:300_000]
    assert not (tmp_path / "data.bin").exists()


@pytest.mark.parametrize(
    "path, message",
    [
        ("missing", "HTTP Error 404"),
        ("corrupt", "what came has sha256 [0-9a-f]{64}, expected " + GOOD.sha256),
        ("endless", "more came than the 1024000 bytes expected"),
        ("elsewhere", "over https only, it redirects to http://mirror.example/good"),
    ],
)
def test_a_bad_answer_leaves_no_file_and_the_next_mirror_is_tried(server, tmp_path, path, message):
    with pytest.raises(DataError, match=message):
        download(at(path), tmp_path, opener=Loopback(server))
    assert not (tmp_path / "data.bin").exists()
    assert download(at(path, "good"), tmp_path, opener=Loopback(server)).read_bytes() == CONTENT


def test_an_answer_for_another_range_is_not_appended(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:100])
    with pytest.raises(DataError, match="asked to continue at byte 100, got bytes 0-9/10"):
        download(at("wrong-range"), tmp_path, opener=Loopback(server))
    assert (tmp_path / "data.bin.part").read_bytes() == CONTENT[:100]


def test_a_corrupt_partial_file_is_fetched_anew_from_the_next_mirror(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(b"x" * 1000)
    assert download(at("good", "good"), tmp_path, opener=Loopback(server)).read_bytes() == CONTENT
    assert server.requests == [("/good", "bytes=1000-"), ("/good", None)]


def test_md5_is_verified_where_it_is_all_there_is(server, tmp_path):
    right, wrong = hashlib.md5(CONTENT).hexdigest(), "0" * 32
    with pytest.raises(DataError, match=f"has md5 {right}, expected {wrong}"):
        download(at("good", sha256=None, md5=wrong), tmp_path, opener=Loopback(server))
    download(at("good", sha256=None, md5=right), tmp_path, opener=Loopback(server))


def test_only_https_is_fetched(tmp_path):
    class Never:
        def open(self, request, *, timeout):
            raise AssertionError("must not be called")

    for url in ("http://mirror.example/good", "file:///etc/passwd", "ftp://mirror.example/good"):
        with pytest.raises(DataError, match="over https only"):
            download(at(urls=(url,)), tmp_path, opener=Never())


def test_several_at_once_fetch_it_once(server, tmp_path):
    with ThreadPool(4) as pool:
        paths = pool.map(lambda _: download(GOOD, tmp_path, opener=Loopback(server)), range(4))
    assert {path.read_bytes() == CONTENT for path in paths} == {True}
    assert len(server.requests) == 1
