"""A server that strangers talk to: whatever they send it answers, keeps its memory, and is well afterwards."""

import contextlib
import copy
import http.client
import json
import socket
import threading
import time
from collections import Counter

import numpy as np
import pytest
import small_runs
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from serving import Server, tensor

MB = 1 << 20
EXPECTED = {200, 400, 404, 405, 408, 413, 415, 422, 429, 504}
"""What may be answered; 500 is a mistake of the server's, and 503 would be one that has too many connections."""
RISE_MB = 320
"""Memory of bodies (four of 16 MB) and of what one of them is read into; a list of as many objects would be a GB."""

IMAGES = np.random.default_rng(0).integers(0, 17, (3, 1, 8, 8), np.uint8)
LARGEST = np.zeros((1024, 1, 8, 8), np.uint8)
GOOD = {"id": "a", "inputs": [tensor(IMAGES, "UINT8")], "outputs": [{"name": "prediction"}], "parameters": {}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_runs.train(tmp_path_factory.mktemp("served"), *small_runs.QUICK).path


@pytest.fixture(params=[(), ("-O",)], ids=["python", "python -O"])
def server(run, request):
    """Started, and still well behind the test: it says the same as before, with the same threads and files."""
    with Server(run, "--read-timeout", "1", "--deadline", "20", python=request.param) as one:
        assert one.infer(tensor(LARGEST, "UINT8"))[0] == 200  # also begins the threads of kernels
        answer = one.infer(*GOOD["inputs"])
        assert answer[0] == 200
        peak, threads, files = one.of_process("VmHWM"), one.of_process("Threads"), one.open_files()
        yield one
        assert one.process.poll() is None
        assert one.errors() == ""
        assert one.ask("/v2/health/ready") == (200, {"ready": True})
        assert one.infer(*GOOD["inputs"]) == answer
        assert one.settled_files(files) <= files
        assert one.of_process("Threads") == threads
        rise = (one.of_process("VmHWM") - peak) >> 10
        print(f"peak memory +{rise} MB")
        assert rise <= RISE_MB
        assert one.stop() == 0


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(width=64)
    | st.text(st.characters(exclude_categories=()), max_size=8)
    | st.sampled_from(["inputs", "UINT8", "FP32", "BYTES", "prediction", "outputs", "../../etc/passwd", "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["id", "name", "datatype", "shape", "data", "inputs", "outputs", "parameters", "file", "code"])
PATHS = ["", "/ready", "/infer", "/versions/12", "/versions/12/infer", "/versions/0/infer", "/infer/", "/../infer"]
OTHERS = ["/", "/v2", "/v2/", "/v2/health/live", "/v2/models/x/infer", "/metrics", "//", "/%00", "/v2/models/%2e%2e"]


def places(value, path=()):
    """The paths of all values in a value, a few of a long list."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:5]) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@st.composite
def changed(draw):
    """A good request with one to three of its values replaced, removed, repeated or named differently."""
    found = copy.deepcopy(GOOD)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(found))[1:] or [()]))
        if not path:
            continue
        parent = found
        for key in path[:-1]:
            parent = parent[key]
        match draw(st.integers(0, 3)):
            case 0:
                parent[path[-1]] = draw(ANY_JSON)
            case 1:
                del parent[path[-1]]
            case 2 if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[path[-1]]))
            case _ if isinstance(parent, dict):
                parent[draw(KEYS)] = parent.pop(path[-1])
    return json.dumps(found).encode()


@st.composite
def edited(draw):
    """The text of one with some bytes replaced, removed or inserted."""
    text = bytearray(draw(changed()))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(text)))
        text[begin : begin + draw(st.integers(0, 6))] = draw(st.binary(max_size=6))
    return bytes(text)


BODIES = (
    st.just(json.dumps(GOOD).encode())
    | changed()
    | changed()
    | edited()
    | ANY_JSON.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=64)
)
METHODS = st.sampled_from(["POST"] * 60 + ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "FOO"])


def test_made_up_requests(server, rounds):
    count = rounds(200)
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(
        BODIES,
        METHODS,
        st.sampled_from([f"{server.path}/infer"] * 60 + [f"{server.path}{end}" for end in PATHS] + OTHERS),
    )
    def talk(body, method, path):
        status, answer = server.ask(path, body, method)
        statuses[status] += 1
        assert status in EXPECTED, (status, method, path, body)
        if status != 200 and method != "HEAD":
            assert isinstance(answer["error"], str)
            assert len(answer["error"]) < 600

    talk()
    listed = ", ".join(f"{number} x {status}" for status, number in sorted(statuses.items()))
    print(f"\n{statuses.total()} made-up requests: {listed}; 0 crashes")
    assert statuses[200] and statuses[400]


def head(path, *lines, length=None, method="POST"):
    more = [*lines, *([f"Content-Length: {length}"] if length is not None else [])]
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *more, "", ""]).encode()


def posted(path, body, *lines):
    return head(path, *lines, length=len(body)) + body


def filled(piece, size=16 * MB):
    """A body of nearly ``size`` that begins as a request does and holds one piece again and again."""
    before = b'{"inputs": [{"name": "inputs", "datatype": "UINT8", "shape": [1, 1, 8, 8], "data": ['
    return before + piece * ((size - len(before)) // len(piece))


def hostile(path):
    """What is sent, by name: bytes at once, or (bytes, seconds between them and those that follow)."""
    infer, good = f"{path}/infer", json.dumps(GOOD).encode()

    def sent(request):
        return posted(infer, json.dumps(request).encode())

    def shaped(*shape):
        return sent({"inputs": [{"name": "inputs", "datatype": "UINT8", "shape": shape, "data": [0] * 64}]})

    def holding(text):
        return posted(infer, json.dumps(GOOD).replace(": [", f": [{text}, ", 1).encode())

    return {
        "slow body": (head(infer, length=len(good)), *(good[i : i + 1] for i in range(9))),
        "slow headers": (b"POST ", b"/v2", b" HTTP/1.1\r\n", b"Host:", b" x\r\n", b"A: b\r\n", b"C: d\r\n"),
        "silence": (b"",),
        "slow body behind a refusal": (head("/nowhere", length=MB), *(b"x" for _ in range(9))),
        "half a body": head(infer, length=1000) + b"{",
        "deep lists": posted(infer, b"[" * MB),
        "deep lists that end": posted(infer, b"[" * MB + b"]" * MB),
        "deep objects": posted(infer, b'{"a":' * MB),
        "huge shape": shaped(2**62, 1, 8, 8),
        "shapes whose product overflows": shaped(2**33, 2**33, 2**33, 2**33),
        "negative shape": shaped(-1, -1, 8, 8),
        "infinite shape": posted(infer, b'{"inputs": [{"name": "inputs", "datatype": "UINT8", "shape": [1e999]}]}'),
        "NaN": holding("NaN"),
        "Infinity": holding("-Infinity"),
        "beyond floats": holding("1e999"),
        "thousands of digits": holding("9" * 100_000),
        "16 MB of numbers": posted(infer, filled(b"0,")),
        "16 MB of lists": posted(infer, filled(b"[],")),
        "16 MB of objects": posted(infer, filled(b"{},")),
        "16 MB of texts": posted(infer, filled(b'"",')),
        "16 MB of quotes that do not end": posted(infer, b'"' + filled(b'\\"')),
        "16 MB of one text": posted(infer, b'{"id": "' + b"a" * (15 * MB) + b'"}'),
        "16 MB of space": posted(infer, b" " * (16 * MB - 2) + b"{}"),
        "more than 16 MB": posted(infer, b" " * (17 * MB)),
        "a terabyte, they say": head(infer, length=1 << 40) + b"{}",
        "chunks without an end": head(infer, "Transfer-Encoding: chunked") + (b"100000\r\n" + b" " * MB + b"\r\n") * 18,
        "chunk of a negative size": head(infer, "Transfer-Encoding: chunked") + b"-1\r\n",
        "two lengths": head(infer, "Transfer-Encoding: chunked", length=5) + b"0\r\n\r\nGET /v2 HTTP/1.1\r\n\r\n",
        "negative length": head(infer, length=-1),
        "gzip": posted(infer, b"\x1f\x8b" + b"\0" * 100, "Content-Encoding: gzip"),
        "binary data": posted(infer, good, "Inference-Header-Content-Length: 10"),
        "a file": sent({**GOOD, "inputs": [{**GOOD["inputs"][0], "file": "/etc/passwd"}]}),
        "code": sent({**GOOD, "parameters": {"model": "os:system", "code": "import os; os.abort()"}}),
        "a path as a model": head("/v2/models/..%2f..%2fetc%2fpasswd", method="GET"),
        "a path of zeros": head("/v2/models/%00%00/infer", method="GET"),
        "header of a megabyte": head(infer, "X: " + "y" * MB),
        "10,000 headers": head(infer, *(f"X-{i}: y" for i in range(10_000))),
        "half a character": sent({**GOOD, "id": "\ud800"}),
        "UTF-16": posted(infer, json.dumps(GOOD).encode("utf-16")),
        "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 200,
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 100,
        "a web socket": head("/v2", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", method="GET"),
        "fifty requests in a row": posted(infer, good) * 50,
        "an answer that nobody reads": posted(infer, json.dumps(
            {"inputs": [tensor(LARGEST, "UINT8")]}
        ).encode()) * 30,
    }  # fmt: skip


def send(server, parts, wait_s):
    """Send it, then say what the answer's first status is; "closed" where there is none."""
    with server.socket(20) as one, contextlib.suppress(ConnectionError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for part in [parts] if isinstance(parts, bytes) else parts:
            one.sendall(part)
            time.sleep(wait_s if not isinstance(parts, bytes) else 0)
        answer = http.client.HTTPResponse(one)
        answer.begin()
        return answer.status
    return "closed"


# `recv` of nothing, and a status line that is none because the connection has ended.
CLOSED = (ConnectionError, http.client.BadStatusLine, http.client.RemoteDisconnected)


def test_hostile_requests(server, rounds):
    attacks = hostile(server.path)
    total = min(max(rounds(0), len(attacks)), 200)
    names = [name for _, name in zip(range(total), list(attacks) * (total // len(attacks) + 1), strict=False)]
    statuses: Counter[object] = Counter()
    turn, unhealthy = iter(names), []

    def attack():
        for name in turn:
            with contextlib.suppress(ValueError):
                try:
                    status = send(server, attacks[name], 0.25)
                except CLOSED:
                    status = "closed"
                except TimeoutError:
                    status = f"no answer to {name}"
                statuses[status] += 1
                if status not in EXPECTED | {"closed"}:
                    unhealthy.append((name, status))

    threads = [threading.Thread(target=attack) for _ in range(8)]
    for thread in threads:
        thread.start()
    slowest = 0.0
    while any(thread.is_alive() for thread in threads):
        asked = time.perf_counter()
        assert server.ask("/v2/health/live") == (200, {"live": True})
        slowest = max(slowest, time.perf_counter() - asked)
        time.sleep(0.05)
    listed = ", ".join(f"{number} x {status}" for status, number in sorted(statuses.items(), key=str))
    print(
        f"\n{total} hostile requests: {listed}; 0 crashes; alive all the time, told so within {slowest:.2f} s; ", end=""
    )
    assert not unhealthy
    assert statuses.total() == total


def test_many_idle_connections(run):
    """They are closed after the time for headers; those who ask meanwhile may be told to come again."""
    with Server(run, "--read-timeout", "3") as server, contextlib.ExitStack() as stack:
        assert server.ask("/v2")[0] == 200
        files = server.open_files()
        idle = [stack.enter_context(server.socket(60)) for _ in range(300)]
        assert server.ask("/v2/health/live") in [(503, "Service Unavailable"), (200, {"live": True})]
        for one in idle:
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(1) == b""
        assert server.ask("/v2/health/live") == (200, {"live": True})
        assert server.settled_files(files) <= files
        print("\n300 idle connections: all closed when the time for headers was over")
