"""`torchlite serve` as a process of its own, and clients for it."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = "from torchlite.cli.main import main; main()"


class Server:
    """A served run on a free port; ``with`` waits until it answers, and ends it.

    Attributes:
        path: that of the model, ``/v2/models/NAME``.
    """

    def __init__(self, run, *options, python=()):
        log, self.log = tempfile.mkstemp()
        self.process = subprocess.Popen(
            [sys.executable, *python, "-c", COMMAND, "serve", os.fspath(run), "--port", "0", *options],
            stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        os.close(log)
        self.said = self.process.stdout.readline()
        found = re.match(r"http://127\.0\.0\.1:(\d+)(/v2/models/\S+)  step (\d+)", self.said)
        if found is None:
            self.process.wait(10)
            raise RuntimeError(f"the server did not start: {self.said}{self.errors()}")
        self.port, self.path, self.step = int(found[1]), found[2], found[3]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()
        os.unlink(self.log)

    def errors(self):
        """What stands on standard error so far."""
        return Path(self.log).read_text()

    def stop(self, number=signal.SIGTERM):
        """Send a signal and give the exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)

    def connection(self, timeout_s=30):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)

    def socket(self, timeout_s=30):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)

    def ask(self, path, body=None, method=None, headers=None, connection=None):
        """Status and JSON of an answer; a body is sent as JSON unless it is bytes."""
        one = connection or self.connection()
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        one.request(method or ("GET" if body is None else "POST"), path, content, headers or {})
        answer = one.getresponse()
        text = answer.read()
        if connection is None:
            one.close()
        return answer.status, json.loads(text) if text.startswith(b"{") else text.decode()

    def infer(self, *tensors, connection=None, **more):
        return self.ask(f"{self.path}/infer", {"inputs": list(tensors), **more}, connection=connection)

    def until(self, counted):
        """Wait until its metrics say so, ``running_requests 1`` for one."""
        deadline = time.monotonic() + 20
        while counted not in (metrics := self.ask("/metrics")[1]):
            assert time.monotonic() < deadline, metrics
            time.sleep(0.001)

    def of_process(self, key):
        """A number of Linux's ``/proc/PID/status``: VmHWM (kB), Threads."""
        return int(re.search(rf"{key}:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[1])

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def settled_files(self, files):
        """How many it has open, when it has had time to close those of connections that have ended."""
        deadline = time.monotonic() + 20
        while self.open_files() > files and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.open_files()


def tensor(array, datatype, name="inputs", nested=False):
    data = array.tolist() if nested else array.ravel().tolist()
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": data}


def outputs_of(answer):
    return {one["name"]: one["data"] for one in answer["outputs"]}
