"""Mutants of good files: readers raise `FormatError` or return plain arrays, soon and in bounded memory."""

import pickletools
import random
import resource
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from torchlite.errors import FormatError
from torchlite.serialization.npz import read_npz, write_npz
from torchlite.serialization.pt import read_pt, write_pt
from torchlite.serialization.safetensors import read_safetensors, write_safetensors
from torchlite.serialization.zip_archive import zip_chunks

INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x28, 0x2E, 0x52, 0x62, 0x63, 0x71, 0x74, 0x7D, 0x85, 0x8A, 0x95)
NUMBERS = (
    *(b"K\0", b"K\1", b"K\2", b"K\xff", b"M\xff\xff", b"J\xff\xff\xff\xff", b"J\xff\xff\xff\x7f"),
    *(b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"\x8a\x09" + b"\0" * 8 + b"\1", b"\x88", b"N", b"G" + b"\0" * 8),
)


def good_pt() -> bytes:
    shared = np.arange(12, dtype=np.float32).reshape(3, 4)
    state = OrderedDict(weight=shared, transposed=shared.T, bias=np.ones(3, ml_dtypes.bfloat16), flag=np.array([True]))
    buffer = BytesIO()
    write_pt(buffer, {"model": state, "optim": [1, 2.5, ("a", b"b", None, {3})], "wide": np.ones(2, np.uint16)})
    return buffer.getvalue()


def good_safetensors() -> bytes:
    buffer = BytesIO()
    write_safetensors(buffer, {"a": np.ones((2, 3)), "b": np.array([True]), "c": np.zeros(0)}, {"k": "v"})
    return buffer.getvalue()


def good_npz() -> bytes:
    buffer = BytesIO()
    write_npz(buffer, {"a": np.ones((2, 3)), "b": np.array([True]), "c": np.array(["x", "yz"])})
    return buffer.getvalue()


def compressed_npz() -> bytes:
    buffer = BytesIO()
    np.savez_compressed(buffer, a=np.arange(100), b=np.array([True, False]))
    return buffer.getvalue()


def mutant(good: bytes, rng: random.Random) -> bytes:
    """One to four edits: flipped bits, interesting bytes, removed, doubled or moved runs."""
    content = bytearray(good)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content))
        length = min(rng.randint(1, 40), len(content) - at)
        match rng.randrange(6):
            case 0:
                content[at] ^= 1 << rng.randrange(8)
            case 1:
                content[at] = rng.choice(INTERESTING)
            case 2 if len(content) > length + 1:
                del content[at : at + length]
            case 3:
                content[at:at] = content[at : at + length]
            case 4:
                to = rng.randrange(len(content) - length + 1)
                content[to : to + length] = content[at : at + length]
            case _:
                content[at : at + length] = rng.randbytes(length)
    return bytes(content)


def around(good: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A sound archive around a mutated pickle, so that the mutant reaches the machine behind the CRC."""
    with zipfile.ZipFile(BytesIO(good)) as file:
        members = [(name, file.read(name)) for name in file.namelist()]
    changed = [(name, change(content) if name.endswith("data.pkl") else content) for name, content in members]
    return b"".join(bytes(chunk) for chunk in zip_chunks(changed))


def pickle_mutant(good: bytes, rng: random.Random) -> bytes:
    return around(good, lambda pickle: mutant(pickle, rng))


def opcode_mutant(good: bytes, rng: random.Random) -> bytes:
    """One to three whole opcodes removed, doubled, exchanged or replaced by others or by odd numbers."""

    def change(pickle: bytes) -> bytes:
        starts = [position for _, _, position in pickletools.genops(pickle)]
        opcodes = [pickle[begin:end] for begin, end in zip(starts, [*starts[1:], len(pickle)], strict=True)]
        for _ in range(rng.randint(1, 3)):
            first, second = (rng.randrange(1, len(opcodes) - 1) for _ in range(2))
            match rng.randrange(5):
                case 0:
                    del opcodes[first]
                case 1:
                    opcodes.insert(first, opcodes[second])
                case 2:
                    opcodes[first], opcodes[second] = opcodes[second], opcodes[first]
                case 3:
                    opcodes[first] = opcodes[second]
                case _:
                    integers = [index for index, opcode in enumerate(opcodes) if opcode[:1] in b"KMJ\x8a"]
                    opcodes[rng.choice(integers or [first])] = rng.choice(NUMBERS)
        return b"".join(opcodes)

    return around(good, change)


def plain_size(value: Any) -> int:
    """Walks what a reader returned; fails on anything that a checkpoint should not consist of."""
    if isinstance(value, np.ndarray):
        value.tolist()
        return int(value.nbytes)
    if isinstance(value, dict):
        return sum(map(plain_size, value.values()))
    if isinstance(value, (list, tuple, set)):
        return sum(map(plain_size, value))
    assert (
        type(value) in (type(None), bool, int, float, complex, str, bytes, bytearray) or "Name" in type(value).__name__
    )
    return 1


@pytest.mark.parametrize(
    ("name", "good", "mutate", "read"),
    [
        ("pt", good_pt, mutant, read_pt),
        ("pt pickle", good_pt, pickle_mutant, read_pt),
        ("pt opcodes", good_pt, opcode_mutant, read_pt),
        ("safetensors", good_safetensors, mutant, lambda data: read_safetensors(data)[0]),
        ("npz", good_npz, mutant, read_npz),
        ("npz compressed", compressed_npz, mutant, read_npz),
    ],
)
def test_mutants(
    name: str,
    good: Callable[[], bytes],
    mutate: Callable[[bytes, random.Random], bytes],
    read: Callable[[bytes], Any],
    rounds: Callable[[int], int],
) -> None:
    content = good()
    plain_size(read(content))
    count = rounds(2000)
    refused = accepted = 0
    slowest = 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(count):
        candidate = mutate(content, random.Random(f"{name} {seed}"))
        started = time.perf_counter()
        try:
            plain_size(read(candidate))
            accepted += 1
        except FormatError:
            refused += 1
        slowest = max(slowest, time.perf_counter() - started)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(
        f"\n{name}: {count} mutants, {refused} refused, {accepted} read, "
        f"slowest {slowest * 1e3:.1f} ms, peak memory +{grown >> 20} MiB"
    )
    assert refused > count * 0.3
    assert grown <= 64 << 20


@pytest.mark.parametrize(
    ("name", "good", "read"),
    [
        ("pt", good_pt, read_pt),
        ("npz", good_npz, read_npz),
        ("npz compressed", compressed_npz, read_npz),
        ("safetensors", good_safetensors, read_safetensors),
    ],
)
def test_truncations_and_extensions(name: str, good: Callable[[], bytes], read: Callable[[bytes], Any]) -> None:
    content = good()
    lengths = range(0, len(content), max(1, len(content) // 400))
    for length in lengths:
        with pytest.raises(FormatError):
            read(content[:length])
    for extra in (b"\0", b"\n", b"PK", content, b"\0" * 4096):
        with pytest.raises(FormatError):
            read(content + extra)
    print(f"\n{name}: {len(lengths)} truncations and 5 extensions, all refused")


@pytest.mark.parametrize("name", ["pt", "npz"])
def test_flipped_bits_of_values_are_detected(name: str, rounds: Callable[[int], int]) -> None:
    """Every bit of the stored values is under the CRC-32 of its member."""
    values = np.random.default_rng(0).standard_normal(64)
    buffer = BytesIO()
    if name == "pt":
        write_pt(buffer, {"a": values})
    else:
        write_npz(buffer, {"a": values})
    content = buffer.getvalue()
    begin = content.index(values.tobytes())
    rng = random.Random(0)
    count = rounds(500)
    for _ in range(count):
        flipped = bytearray(content)
        flipped[begin + rng.randrange(values.nbytes)] ^= 1 << rng.randrange(8)
        with pytest.raises(FormatError, match="CRC-32"):
            (read_pt if name == "pt" else read_npz)(bytes(flipped))
    print(f"\n{name}: {count} flipped bits, {count} detected")
