import gzip
import io
import random
import tarfile

import numpy as np
import pytest

from torchlite.datasets.cifar import read_cifar10
from torchlite.errors import FormatError

NAMES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]


def batch(start, count):
    records = np.zeros((count, 3073), np.uint8)
    records[:, 0] = (start + np.arange(count)) % 10
    records[:, 1:] = (start + np.arange(count))[:, None]
    return records.tobytes()


def contents(count=2):
    return {name: batch(10 * index, count) for index, name in enumerate(NAMES)}


def archive_of(members, format=tarfile.USTAR_FORMAT, extra=()):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        folder = tarfile.TarInfo("cifar-10-batches-bin")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for info, content in extra:
            archive.addfile(info, io.BytesIO(content))
        for name, content in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def write(tmp_path, tar):
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(gzip.compress(tar, mtime=0))
    return path


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_an_archive(tmp_path, format):
    readme = tarfile.TarInfo("cifar-10-batches-bin/readme.html")
    readme.size = 5
    path = write(tmp_path, archive_of(contents(), format, [(readme, b"hello")]))
    train, test = read_cifar10(path, "train"), read_cifar10(path, "test")
    assert train.inputs.shape == (10, 3, 32, 32) and train.inputs.dtype == np.uint8
    assert train.targets.dtype == np.int64
    assert train.inputs[:, 2, 31, 31].tolist() == [0, 1, 10, 11, 20, 21, 30, 31, 40, 41]
    assert train.targets.tolist() == [0, 1] * 5
    assert test.inputs[:, 0, 0, 0].tolist() == [50, 51]


def test_the_batches_are_joined_in_their_own_order(tmp_path):
    shuffled = dict(reversed(contents().items()))
    train = read_cifar10(write(tmp_path, archive_of(shuffled)), "train")
    assert train.inputs[::2, 0, 0, 0].tolist() == [0, 10, 20, 30, 40]


def test_reads_the_unpacked_folder(tmp_path):
    for name, content in contents().items():
        (tmp_path / name).write_bytes(content)
    assert read_cifar10(tmp_path, "test").inputs[:, 0, 0, 0].tolist() == [50, 51]


def test_pixels_are_planes_of_rows(tmp_path):
    record = np.concatenate([[3], np.arange(3072) % 256]).astype(np.uint8).tobytes()
    images = read_cifar10(write(tmp_path, archive_of({"test_batch.bin": record})), "test")
    np.testing.assert_array_equal(images.inputs[0, 1, 2], (1024 + 64 + np.arange(32)) % 256)
    assert images.targets.tolist() == [3]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"test_batch.bin": b"\x0a" + bytes(3072)}, "a label 10, expected 0 to 9"),
        ({"test_batch.bin": bytes(3074)}, "not a multiple of the record's 3073"),
        ({"test_batch.bin": None}, "no test_batch.bin in cifar-10-batches-bin/"),
    ],
)
def test_a_wrong_batch_is_named(tmp_path, change, message):
    members = {name: content for name, content in {**contents(), **change}.items() if content is not None}
    with pytest.raises(FormatError, match=message):
        read_cifar10(write(tmp_path, archive_of(members)), "test")


def test_a_batch_may_not_come_twice(tmp_path):
    double = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
    double.size = 3073
    path = write(tmp_path, archive_of(contents(), extra=[(double, bytes(3073))]))
    with pytest.raises(FormatError, match=r"test_batch\.bin is there twice"):
        read_cifar10(path, "test")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_members_that_are_not_regular_files_are_passed_over(tmp_path, kind):
    link = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
    link.type = kind
    link.linkname = "/etc/passwd"
    members = contents()
    del members["test_batch.bin"]
    path = write(tmp_path, archive_of(members, extra=[(link, b"")]))
    with pytest.raises(FormatError, match=r"no test_batch\.bin"):
        read_cifar10(path, "test")


def test_a_batch_outside_its_folder_is_not_taken(tmp_path):
    members = {f"../{name}": content for name, content in contents().items()}
    with pytest.raises(FormatError, match=r"no test_batch\.bin"):
        read_cifar10(write(tmp_path, archive_of(members)), "test")


def test_the_unpacked_size_is_capped(tmp_path):
    path = write(tmp_path, archive_of({"test_batch.bin": bytes(3073 * 1000)}))
    with pytest.raises(FormatError, match="exceed the 100000 bytes allowed"):
        read_cifar10(path, "test", max_bytes=100_000)


def test_mutated_archives_raise_format_errors_only(tmp_path):
    tar = archive_of({"test_batch.bin": batch(0, 1)}, tarfile.PAX_FORMAT)
    rng = random.Random(7)
    headers = [position for position in range(len(tar)) if tar[position : position + 1] != b"\0"]
    refused = 0
    for count in range(2000):
        mutant = bytearray(tar)
        if count % 2:
            for _ in range(rng.randint(1, 3)):
                mutant[rng.choice(headers)] = rng.randrange(256)
        else:
            del mutant[rng.randrange(len(mutant)) :]
        packed = bytearray(gzip.compress(bytes(mutant), 1, mtime=0))
        if count % 3 == 0:
            packed[rng.randrange(len(packed))] = rng.randrange(256)
        path = tmp_path / "mutant.tar.gz"
        path.write_bytes(packed)
        try:
            read_cifar10(path, "test", max_bytes=1 << 20)
        except FormatError:
            refused += 1
    assert refused > 500
