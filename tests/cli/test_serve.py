"""serve: how it starts, and how it ends."""

import signal
import socket
import threading

import pytest
import small_runs
from serving import Server, outputs_of

from torchlite import extras
from torchlite.serve.server import listen


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    (folder / "text.txt").write_text("abc " * 200)
    return small_runs.train(folder, text=small_runs.TEXT).path


def prompt(text):
    return {"name": "prompt", "datatype": "BYTES", "shape": [1], "data": [text]}


LONG = {"max_new_tokens": 1_000_000}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_what_runs_is_finished(writer, number, code):
    """A request that takes a while is answered though the process has been told to end."""
    with Server(writer, "--max-tokens", "10000") as server:
        answers = []
        asking = threading.Thread(
            target=lambda: answers.append(server.infer(prompt("a"), parameters={"max_new_tokens": 10_000}))
        )
        asking.start()
        server.until("running_requests 1")
        assert server.stop(number) == code
        asking.join()
        ((status, answer),) = answers
        assert status == 200
        assert len(outputs_of(answer)["text"][0]) == 10_000
        assert server.errors() == ""


def test_deadline_and_queue(writer):
    with Server(writer, "--max-tokens", "1000000", "--queue", "1", "--deadline", "4") as server:
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(server.infer(prompt("a"), parameters=LONG)))
            for _ in range(2)
        ]
        for thread, counted in zip(threads, ("running_requests 1", "waiting_requests 1"), strict=True):
            thread.start()
            server.until(counted)
        connection = server.connection()
        connection.request("POST", f"{server.path}/infer", b"{}")
        refused = connection.getresponse()
        assert refused.status == 429
        assert refused.headers["Retry-After"] == "1"
        connection.close()
        for thread in threads:
            thread.join()
        assert [status for status, _ in answers] == [504, 504]
        assert "behind the deadline" in answers[0][1]["error"]
        status, answer = server.infer(prompt("ab"), parameters={"temperature": 0, "max_new_tokens": 3})
        assert (status, outputs_of(answer)) == (200, {"text": ["c a"]})


def test_without_its_packages(torchlite, monkeypatch):
    there = extras.importlib.import_module

    def missing(name):
        if name.startswith("torchlite"):
            return there(name)
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    result = torchlite("serve", "runs/none")
    assert result.code == 12
    assert "pip install 'torchlite[serve]'" in result.err
    assert len(result.err.splitlines()) == 1


def test_answers_are_sent_at_once():
    """asyncio sets TCP_NODELAY where a socket names its protocol; without it an answer waits 40 ms for the client's ACK."""
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_where_nothing_can_listen(torchlite, writer):
    with Server(writer) as server:
        result = torchlite("serve", writer, "--port", str(server.port))
        assert result.code == 2
        assert f"cannot listen on 127.0.0.1, port {server.port}" in result.err
    assert torchlite("serve", writer, "--host", "nowhere.invalid").code == 2
    assert torchlite("serve", "runs/none", "--port", "0").code == 2
