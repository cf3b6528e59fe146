import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from torchlite.datasets import catalogue, load, loading
from torchlite.datasets.catalogue import parse_card
from torchlite.errors import DataError

IMAGES = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2)
LABELS = np.array([1, 0, 1], np.uint8)
FILES = {
    "images": struct.pack(">HBB3I", 0, 8, 3, 3, 2, 2) + IMAGES.tobytes(),
    "labels": struct.pack(">HBBI", 0, 8, 1, 3) + LABELS.tobytes(),
}


def make_card(files=FILES, **changes):
    entries = []
    for role, content in files.items():
        packed = gzip.compress(content, mtime=0)
        entries.append(
            {
                "name": f"{role}.gz",
                "split": "train",
                "role": role,
                "size_bytes": len(packed),
                "sha256": hashlib.sha256(packed).hexdigest(),
                "unpacked": {
                    "name": role,
                    "size_bytes": len(content),
                    "sha256": hashlib.sha256(content).hexdigest(),
                },
            }
        )
    document = {
        "title": "tiny",
        "homepage": "https://tiny.example",
        "licence": "none",
        "citation": "none",
        "format": "idx",
        "input": {"shape": [1, 2, 2], "dtype": "uint8"},
        "scale": 255,
        "classes": ["no", "yes"],
        "splits": {"train": 3},
        "mean": [0.5],
        "std": [0.5],
        "folders": [],
        "mirrors": ["https://one.example/", "https://two.example/"],
        "files": entries,
    }
    return parse_card("tiny", {**document, **changes})


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    """A catalogue of one tiny dataset, a cache in a temporary folder, and no network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TORCHLITE_DATA", raising=False)
    cards = {"tiny": make_card(folders=[str(tmp_path / "system")])}
    monkeypatch.setattr(loading, "card", cards.__getitem__)
    return cards


class Web:
    """Serves the packed files at https addresses from memory."""

    def __init__(self):
        self.requests = []

    def open(self, request, *, timeout):
        self.requests.append(request.full_url)
        role = request.full_url.rsplit("/", 1)[1].removesuffix(".gz")
        return Response(gzip.compress(FILES[role], mtime=0))


class Response:
    status = 200
    headers: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, content):
        self.content = content

    def read(self, size):
        chunk, self.content = self.content[:size], self.content[size:]
        return chunk

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


class Offline:
    def open(self, request, *, timeout):
        raise OSError("no network here")


def put(folder, packed=True, mtime=0, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    for role, content in {**FILES, **changes}.items():
        if packed:
            (folder / f"{role}.gz").write_bytes(gzip.compress(content, mtime=mtime))
        else:
            (folder / role).write_bytes(content)


def check(arrays):
    assert arrays.inputs.dtype == np.uint8 and arrays.targets.dtype == np.int64
    np.testing.assert_array_equal(arrays.inputs, IMAGES[:, None])
    np.testing.assert_array_equal(arrays.targets, LABELS)


PLACES = ["root/tiny", "root", "env/tiny", "env", "cache/torchlite/datasets/tiny", "system"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("packed", [True, False])
def test_files_are_found_wherever_they_may_lie(monkeypatch, tmp_path, place, packed):
    monkeypatch.setenv("TORCHLITE_DATA", str(tmp_path / "env"))
    put(tmp_path / place, packed)
    check(load("tiny", "train", root=tmp_path / "root", download=False))


def test_the_folders_are_searched_in_that_order(monkeypatch, tmp_path, tiny):
    monkeypatch.setenv("TORCHLITE_DATA", str(tmp_path / "env"))
    folders = loading.search_folders(tiny["tiny"], tmp_path / "root")
    assert [folder.relative_to(tmp_path).as_posix() for folder in folders] == PLACES


def test_the_cache_is_below_home_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert loading.cache_folder("tiny") == tmp_path / ".cache" / "torchlite" / "datasets" / "tiny"


def test_a_file_packed_anew_is_known_by_its_content(tmp_path):
    put(tmp_path / "root", mtime=12345)
    check(load("tiny", "train", root=tmp_path / "root", download=False))


@pytest.mark.parametrize("packed", [True, False])
def test_a_wrong_copy_is_passed_over_for_a_good_one(tmp_path, packed):
    put(tmp_path / "root", packed, images=FILES["images"][:-1] + b"\xff")
    put(tmp_path / "system")
    check(load("tiny", "train", root=tmp_path / "root", download=False))


@pytest.mark.parametrize(
    "content, reason",
    [
        (FILES["images"][:-1] + b"\xff", "holds content of sha256"),
        (FILES["images"] + bytes(1000), "holds more than 28 bytes"),
        (FILES["images"][:-1], "holds less than 28 bytes"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_without_a_good_copy_the_wrong_one_is_named(tmp_path, content, reason, packed):
    put(tmp_path / "root", packed, images=content)
    with pytest.raises(DataError, match=rf"passed over:\n  \S*root/images(\.gz)? {reason}"):
        load("tiny", "train", root=tmp_path / "root", download=False)


def test_a_damaged_gz_file_is_named(tmp_path):
    put(tmp_path / "root")
    (tmp_path / "root" / "labels.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match=r"labels\.gz has damaged gzip data"):
        load("tiny", "train", root=tmp_path / "root", download=False)


def test_missing_files_are_listed_with_sizes_addresses_and_folders(tmp_path):
    put(tmp_path / "root")
    (tmp_path / "root" / "images.gz").unlink()
    with pytest.raises(DataError) as caught:
        load("tiny", "train", root=tmp_path / "root", download=False)
    size = len(gzip.compress(FILES["images"], mtime=0))
    assert str(caught.value) == "\n".join(
        [
            "tiny: 1 file(s) not found",
            "needed:",
            f"  images.gz ({size} bytes)",
            "    https://one.example/images.gz",
            "    https://two.example/images.gz",
            "put them, as they are or unpacked, into one of the folders searched:",
            f"  {tmp_path}/root/tiny",
            f"  {tmp_path}/root",
            f"  {tmp_path}/cache/torchlite/datasets/tiny",
            f"  {tmp_path}/system",
        ]
    )


def test_what_is_missing_is_downloaded_into_the_cache_once(tmp_path):
    put(tmp_path / "root")
    (tmp_path / "root" / "labels.gz").unlink()
    web = Web()
    check(load("tiny", "train", root=tmp_path / "root", opener=web))
    assert web.requests == ["https://one.example/labels.gz"]
    check(load("tiny", "train", root=tmp_path / "root", opener=web))
    assert len(web.requests) == 1


def test_offline_says_what_is_needed_and_why_the_download_failed():
    with pytest.raises(DataError) as caught:
        load("tiny", "train", opener=Offline())
    message = str(caught.value)
    assert "needed:\n  images.gz" in message and "  labels.gz" in message
    assert "https://two.example/images.gz: no network here" in message


def test_data_that_contradicts_the_card_is_refused(tiny, tmp_path):
    put(tmp_path / "root")
    tiny["tiny"] = make_card(classes=["one"])
    with pytest.raises(DataError, match="tiny train: a label lies outside 0 to 0"):
        load("tiny", "train", root=tmp_path / "root")
    tiny["tiny"] = make_card(splits={"train": 4})
    with pytest.raises(DataError, match=r"are \(\(3, 1, 2, 2\), 'uint8', \(3,\)\), the card says \(\(4, 1, 2, 2\)"):
        load("tiny", "train", root=tmp_path / "root")
    tiny["tiny"] = make_card(splits={"train": 2})
    with pytest.raises(DataError, match="more than the 8 allowed"):
        load("tiny", "train", root=tmp_path / "root")


def test_an_unknown_split_is_refused():
    with pytest.raises(DataError, match="unknown split of tiny 'trian'; did you mean 'train'"):
        load("tiny", "trian")


@pytest.mark.slow
@pytest.mark.skipif(
    not catalogue.card("fashion_mnist").folders[0].exists(), reason="needs Debian's dataset-fashion-mnist"
)
def test_fashion_mnist_of_debian(monkeypatch):
    monkeypatch.setattr(loading, "card", catalogue.card)
    spec = catalogue.card("fashion_mnist")
    inputs, targets = load("fashion_mnist", "train", download=False)
    assert inputs.shape == (60000, 1, 28, 28)
    assert np.bincount(targets).tolist() == [6000] * 10
    assert round(inputs.mean() / spec.scale, 4) == spec.mean[0]
    assert round(inputs.std() / spec.scale, 4) == spec.std[0]
    assert load("fashion_mnist", "test", download=False).inputs.shape == (10000, 1, 28, 28)
