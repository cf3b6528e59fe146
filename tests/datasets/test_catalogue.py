import dataclasses
import re
import subprocess
import sys

import pytest

from torchlite.datasets.catalogue import ArraySpec, card, names, parse_card
from torchlite.errors import DataError

SHA256 = re.compile(r"[0-9a-f]{64}")
MD5 = re.compile(r"[0-9a-f]{32}")


def test_names_are_sorted_and_complete():
    assert names() == ("cifar10", "digits", "fashion_mnist", "mnist", "tones")


@pytest.mark.parametrize("name", names())
def test_every_card_is_whole(name):
    spec = card(name)
    assert spec.title and spec.licence and spec.citation
    assert spec.homepage.startswith("http" if spec.files else "none")
    assert spec.input.dtype == ("uint8" if spec.files else "int16")
    channels = spec.input.shape[0]
    assert len(spec.mean) == len(spec.std) == channels
    assert all(0 <= mean < 1 for mean in spec.mean) and all(0 < std < 1 for std in spec.std)
    assert set(spec.splits) == {"train", "test"}
    assert spec.num_classes == len(set(spec.classes)) == (10 if spec.files else 5)
    for file in spec.files:
        assert file.split in {*spec.splits, "all"}
        assert file.size_bytes > 0
        assert file.sha256 is None or SHA256.fullmatch(file.sha256)
        assert file.md5 is None or MD5.fullmatch(file.md5)
        assert all(url.startswith("https://") and url.endswith("/" + file.name) for url in file.urls)
        assert file.unpacked is not None and not file.name.endswith(file.unpacked.name)
        assert spec.format == "cifar10" or SHA256.fullmatch(file.unpacked.sha256)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_sizes_follow_from_the_shapes(name):
    spec = card(name)
    for file in spec.files:
        count = spec.splits[file.split]
        expected = 16 + count * 28 * 28 if file.role == "images" else 8 + count
        assert file.unpacked.size_bytes == expected


def test_values_of_one_card():
    spec = card("fashion_mnist")
    assert spec.input == ArraySpec((1, 28, 28), "uint8")
    assert spec.splits == {"train": 60000, "test": 10000}
    assert spec.scale == 255
    assert spec.classes[9] == "Ankle boot"
    assert [file.role for file in spec.files_of("test")] == ["images", "labels"]
    assert card("digits").scale == 16


def test_an_unknown_name_suggests_the_closest():
    with pytest.raises(DataError, match=r"unknown dataset 'fashion-mnist'; did you mean 'fashion_mnist'\?"):
        card("fashion-mnist")
    with pytest.raises(DataError, match=r"unknown dataset 'zzz' \(known: cifar10, "):
        card("zzz")


def test_an_unknown_split_suggests_the_closest():
    with pytest.raises(DataError, match=r"unknown split of mnist 'tests'; did you mean 'test'\?"):
        card("mnist").files_of("tests")


def test_cards_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        card("mnist").name = "other"


DOCUMENT = {
    "title": "t",
    "homepage": "h",
    "licence": "l",
    "citation": "c",
    "format": "idx",
    "input": {"shape": [1, 2, 2], "dtype": "uint8"},
    "scale": 255,
    "classes": ["a", "b"],
    "splits": {"train": 3},
    "mean": [0.5],
    "std": [0.5],
    "folders": [],
    "mirrors": ["https://one/", "https://two/"],
    "files": [{"name": "f.gz", "split": "train", "role": "images", "size_bytes": 4, "md5": "0" * 32}],
}


def test_md5_alone_is_a_checksum():
    file = parse_card("x", DOCUMENT).files[0]
    assert (file.sha256, file.md5) == (None, "0" * 32)
    assert file.urls == ("https://one/f.gz", "https://two/f.gz")


def test_a_file_without_checksum_is_refused():
    bare = {key: value for key, value in DOCUMENT["files"][0].items() if key != "md5"}
    with pytest.raises(ValueError, match="neither sha256 nor md5"):
        parse_card("x", {**DOCUMENT, "files": [bare]})


@pytest.mark.parametrize("change", [{"title": None}, {"unheard_of": 1}])
def test_a_missing_or_unknown_field_is_refused(change):
    document = {**DOCUMENT, **change}
    if document["title"] is None:
        del document["title"]
    with pytest.raises(TypeError):
        parse_card("x", document)


def test_reading_a_card_does_not_import_numpy():
    code = "import sys, torchlite.datasets as d; d.card('mnist'); d.names(); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
