"""The Open Inference Protocol as a client sees it: paths, answers and refusals of a server on a free port."""

import contextlib
import json
import threading

import numpy as np
import pytest
import small_runs
from serving import Server, outputs_of, tensor

from torchlite import datasets
from torchlite.train.inputs import read_inputs
from torchlite.train.prediction import outputs, records
from torchlite.train.trained import load_trained

IMAGES = datasets.load("digits", "test").inputs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_runs.train(tmp_path_factory.mktemp("served"), *small_runs.QUICK).path


@pytest.fixture(scope="module")
def server(run):
    with Server(run, "--max-batch", "400", "--max-body", "1", "--read-timeout", "3") as started:
        yield started
        assert started.errors() == ""


def test_health_and_metadata(server):
    assert server.ask("/v2/health/live") == (200, {"live": True})
    assert server.ask("/v2/health/ready") == (200, {"ready": True})
    assert server.ask("/v2")[1]["name"] == "torchlite"
    status, found = server.ask(server.path)
    assert status == 200
    assert found["versions"] == [server.step]
    assert found["inputs"] == [{"name": "inputs", "datatype": "UINT8", "shape": [-1, 1, 8, 8]}]
    assert [(one["name"], one["datatype"], one["shape"]) for one in found["outputs"]] == [
        ("prediction", "BYTES", [-1]), ("probabilities", "FP64", [-1, 10]), ("outputs", "FP64", [-1, 10]),
    ]  # fmt: skip
    assert found["outputs"][1]["parameters"] == {"classes": [str(digit) for digit in range(10)]}
    assert server.ask(f"{server.path}/ready") == (200, {"name": "small", "ready": True})
    versioned = f"{server.path}/versions/{server.step}"
    assert server.ask(versioned) == (200, found)
    assert server.ask(f"{versioned}/ready")[0] == 200


def test_answers_have_the_bits_of_predict(server, run, tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    trained = load_trained(run)
    batches = list(outputs(trained, read_inputs(trained, str(tmp_path / "images.npy"), None).samples))
    status, answer = server.infer(tensor(IMAGES, "UINT8"), id="all")
    assert status == 200
    assert answer["id"] == "all"
    assert (answer["model_name"], answer["model_version"]) == ("small", server.step)
    found = outputs_of(answer)
    assert found["outputs"] == np.concatenate(batches).ravel().tolist()
    told = [record for batch in batches for record in records(trained, batch, 0, 1)]
    assert found["prediction"] == [record["prediction"] for record in told]
    assert found["probabilities"] == [p for record in told for p in record["probabilities"].values()]


def test_an_answer_does_not_depend_on_who_else_asks(server):
    sizes = [1, 2, 3, 5, 17, 40]
    alone = [server.infer(tensor(IMAGES[:size], "UINT8")) for size in sizes]
    found: dict[int, list[object]] = {place: [] for place in range(len(sizes))}

    def ask(place):
        connection = server.connection()
        for _ in range(20):
            found[place].append(server.infer(tensor(IMAGES[: sizes[place]], "UINT8"), connection=connection))
        connection.close()

    threads = [threading.Thread(target=ask, args=(place,)) for place in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(answers == [alone[place]] * 20 for place, answers in found.items())


def test_nested_data_and_chosen_outputs(server):
    flat = server.infer(tensor(IMAGES[:3], "UINT8"))
    assert server.infer(tensor(IMAGES[:3], "UINT8", nested=True), parameters={"binary_data_output": False}) == flat
    status, chosen = server.infer(tensor(IMAGES[:3], "UINT8"), outputs=[{"name": "outputs"}, {"name": "prediction"}])
    assert status == 200
    assert [one["name"] for one in chosen["outputs"]] == ["outputs", "prediction"]
    assert outputs_of(chosen)["outputs"] == outputs_of(flat[1])["outputs"]


GOOD = tensor(IMAGES[:1], "UINT8")
REFUSED = [
    ({**GOOD, "datatype": "FP32"}, "takes datatype UINT8, got 'FP32'"),
    ({**GOOD, "shape": [1, 64]}, "takes shape [-1, 1, 8, 8], got [1, 64]"),
    ({**GOOD, "shape": [1, 1, 8, True]}, "takes shape"),
    ({**GOOD, "shape": [2**62, 1, 8, 8]}, "1 to 400 samples"),
    ({**GOOD, "shape": [0, 1, 8, 8], "data": []}, "1 to 400 samples"),
    ({**GOOD, "data": [0] * 63}, "has 64 elements, data has 63"),
    ({**GOOD, "data": [[0] * 64]}, "not nested as shape"),
    ({**GOOD, "data": [0] * 63 + [256]}, "from 0 to 255, got 256"),
    ({**GOOD, "data": [0] * 63 + [10**300]}, "from 0 to 255"),
    ({**GOOD, "data": [0] * 63 + [1.5]}, "is UINT8, got the element 1.5"),
    ({**GOOD, "data": [0] * 63 + [True]}, "got the element True"),
    ({**GOOD, "data": [0] * 63 + [None]}, "got the element None"),
    ({**GOOD, "data": "0" * 64}, "expected a list as data"),
    ({**GOOD, "name": "image"}, "there is no 'image'; the model has inputs"),
    ({**GOOD, "file": "/etc/passwd"}, "unknown key 'file'"),
    ({**GOOD, "parameters": {"binary_data_size": 64}}, "binary data is not supported"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_tensors_that_are_not_the_model_s(server, given, message):
    status, answer = server.infer(given)
    assert status == 400
    assert message in answer["error"]


BODIES = [
    (b"", 400, "not JSON"),
    (b"[]", 400, "expected a JSON object"),
    (b'{"inputs": [], "inputs": []}', 400, "a key twice"),
    (b'{"inputs": NaN}', 400, "NaN is no number"),
    (b'{"inputs": "\xff"}', 400, "not UTF-8"),
    (b'{"id": "\\ud800", "inputs": []}', 400, "half a character"),
    (b'{"inputs": []}', 400, "input 'inputs' is missing"),
    (b'{"inputs": [{"name": "inputs"}, {"name": "inputs"}]}', 400, "stands there twice"),
    (b'{"id": 3}', 400, "expected an id"),
    (b'{"inputs": [], "parameters": {"temperature": 1}}', 400, "no parameter 'temperature'; this model has none"),
    (b'{"outputs": [{"name": "loss"}]}', 400, "there is no 'loss'"),
    (b'{"code": "import os"}', 400, "unknown key 'code'"),
    (b"[" * 1000, 400, "nested 1000 deep"),
    (b'{"inputs": [' + b"0," * 300_000 + b"0]}", 413, "more than"),
    (b" " * (1 << 20) + b" ", 413, "longer than 1,048,576 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "message"), BODIES, ids=[message for _, _, message in BODIES])
def test_bodies_that_are_no_requests(server, body, status, message):
    found, answer = server.ask(f"{server.path}/infer", body)
    assert found == status
    assert message in answer["error"]


def test_paths_methods_and_encodings(server):
    assert server.ask("/v2/models/other") == (404, {"error": "there is no model 'other'; this server has 'small'"})
    status, answer = server.ask(f"{server.path}/versions/1/infer", {})
    assert (status, answer["error"]) == (404, "there is no version '1'; this server has '12'")
    assert server.ask("/v2/models/small/")[0] == 404
    assert server.ask("/etc/passwd")[1] == {"error": "there is no '/etc/passwd'; see /v2 and /v2/models/NAME"}
    assert server.ask(f"{server.path}/infer")[0] == 405
    assert server.ask("/v2", {})[1] == {"error": "'/v2' does not take POST"}
    assert server.ask(f"{server.path}/infer", {}, headers={"Content-Encoding": "gzip"})[0] == 415
    assert server.ask(f"{server.path}/infer", {}, headers={"Inference-Header-Content-Length": "2"})[0] == 415


def test_a_slow_body_and_slow_headers_end(server):
    with server.socket() as one:
        one.sendall(f"POST {server.path}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{".encode())
        answer = one.recv(4096)
        assert b" 408 " in answer
    with server.socket() as one:
        one.sendall(b"GET /v2 HTTP/1.1\r\nHost:")
        with contextlib.suppress(ConnectionResetError):
            assert one.recv(4096) == b""


def test_a_connection_whose_answers_nobody_reads_ends(server):
    body = json.dumps({"inputs": [tensor(IMAGES, "UINT8")]}).encode()
    request = f"POST {server.path}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    assert server.ask("/v2")[0] == 200
    files = server.settled_files(0)
    with server.socket() as one:
        one.settimeout(0.5)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while True:  # until neither side takes any more
                one.sendall(request)
        assert server.settled_files(files) <= files


def test_metrics_count(server):
    before = server.ask("/metrics")[1]
    server.infer(GOOD)
    server.ask("/nowhere")

    def count(text, name):
        return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith(name))

    after = server.ask("/metrics")[1]
    for name, difference in (
        ("torchlite_inferences_total", 1),
        ('torchlite_answers_total{status="404"}', 1),
        ('torchlite_answers_total{status="200"}', 2),
    ):
        assert count(after, name) - count(before, name) == difference
