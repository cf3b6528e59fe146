import gzip
import random
import struct

import numpy as np
import pytest

from torchlite.datasets.idx import parse_idx, read_idx
from torchlite.errors import FormatError

CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def idx_bytes(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, CODES[array.dtype.name], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("packed", [False, True])
def test_reads_back_what_was_written(tmp_path, dtype, packed):
    array = (np.arange(24).reshape(2, 3, 4) - 5).astype(dtype)
    content = idx_bytes(array)
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(content) if packed else content)
    result = read_idx(path)
    assert result.dtype == array.dtype and result.dtype.isnative
    np.testing.assert_array_equal(result, array)


def test_a_dimension_of_zero_is_an_empty_array():
    assert parse_idx(idx_bytes(np.zeros((0, 3), np.uint8))).shape == (0, 3)


VALID = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "starts with two zero bytes"),
        (b"\0\0\x08", "starts with two zero bytes"),
        (b"\x01" + VALID[1:], "starts with two zero bytes"),
        (VALID[:2] + b"\x0a" + VALID[3:], "unknown IDX dtype code 0x0a"),
        (VALID[:3] + b"\0" + VALID[4:], "1 to 8 dimensions"),
        (VALID[:3] + b"\xff" + VALID[4:], "1 to 8 dimensions"),
        (VALID[:9], "ends inside the 2 dimensions"),
        (VALID[:-1], "5 bytes follow"),
        (VALID + b"\0", "more bytes follow"),
        (VALID[:4] + b"\xff" * 8, "more than the 1073741824 allowed"),
    ],
)
def test_what_is_wrong_is_said(content, message):
    with pytest.raises(FormatError, match=message):
        parse_idx(content)


def test_a_gzip_bomb_is_refused_before_it_inflates(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.zeros((1, 10_000_000), np.uint8))))
    with pytest.raises(FormatError, match="10000000 bytes, more than the 784 allowed"):
        read_idx(path, max_bytes=784)


def test_bytes_behind_the_array_are_found_in_a_gzip_file(tmp_path):
    path = tmp_path / "long.gz"
    path.write_bytes(gzip.compress(VALID + bytes(10_000_000)))
    with pytest.raises(FormatError, match="more bytes follow"):
        read_idx(path)


def mutants(content, count, seed):
    rng = random.Random(seed)
    for _ in range(count):
        mutant = bytearray(content)
        kind = rng.randrange(4)
        if kind == 0:
            for _ in range(rng.randint(1, 4)):
                mutant[rng.randrange(len(mutant))] = rng.randrange(256)
        elif kind == 1:
            del mutant[rng.randrange(len(mutant)) :]
        elif kind == 2:
            position = rng.randrange(len(mutant))
            mutant[position:position] = rng.randbytes(rng.randint(1, 16))
        else:
            start = rng.randrange(len(mutant))
            del mutant[start : start + rng.randint(1, 16)]
        yield bytes(mutant)


@pytest.mark.parametrize("packed", [False, True])
def test_mutated_files_raise_format_errors_only(tmp_path, packed):
    content = idx_bytes(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    path = tmp_path / "mutant"
    refused = 0
    for mutant in mutants(gzip.compress(content, mtime=0) if packed else content, 2000, seed=int(packed)):
        path.write_bytes(mutant)
        try:
            assert read_idx(path, max_bytes=1 << 16).nbytes <= 1 << 16
        except FormatError:
            refused += 1
    assert refused > 1000
