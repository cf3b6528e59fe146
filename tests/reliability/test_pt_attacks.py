"""Hand-made hostile .pt files: none executes anything, each is a FormatError, none costs much memory."""

import resource
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from torchlite.errors import FormatError
from torchlite.serialization.pt import read_pt, write_pt
from torchlite.serialization.zip_archive import zip_chunks

MIB = 1 << 20
P = b"\x80\x02"


class Watch:
    """Records what a file managed to do; an audit hook cannot be removed, so it is switched on and off."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self.hook)

    def hook(self, event: str, _: Any) -> None:
        if self.on and event.split(".")[0] in (
            "exec",
            "compile",
            "import",
            "open",
            "os",
            "subprocess",
            "socket",
            "pickle",
        ):
            self.seen.append(event)


@pytest.fixture(scope="module")
def watch() -> Watch:
    read_pt(archive(P + tensor() + b"."))  # imports what is imported lazily
    return Watch()


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def glob(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def many(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return glob(module, name) + many(*arguments) + b"R"


def numbers(*values: int) -> bytes:
    return many(*map(number, values))


HOOKS = call("collections", "OrderedDict")


def storage(kind: str = "FloatStorage", key: str = "0", numel: bytes = number(4), tag: str = "storage") -> bytes:
    module = "torch.storage" if kind == "UntypedStorage" else "torch"
    return many(text(tag), glob(module, kind), text(key), text("cpu"), numel) + b"Q"


def tensor(
    place: bytes = storage(),
    offset: bytes = number(0),
    size: bytes = numbers(4),
    stride: bytes = numbers(1),
    grad: bytes = b"\x89",
    hooks: bytes = HOOKS,
    *more: bytes,
    rebuild: str = "_rebuild_tensor_v2",
) -> bytes:
    return call("torch._utils", rebuild, place, offset, size, stride, grad, hooks, *more)


def archive(pickle: bytes, *, data: bytes = b"\0" * 16, more: tuple[tuple[str, bytes], ...] = ()) -> bytes:
    members = [
        ("a/data.pkl", pickle),
        ("a/byteorder", b"little"),
        ("a/data/0", data),
        ("a/version", b"3\n"),
        *more,
    ]
    return b"".join(bytes(chunk) for chunk in zip_chunks(members))


def pickled(body: bytes) -> bytes:
    return archive(P + body + b".")


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


GOOD = pickled(tensor())
NAMES = (("a/data.pkl", P + tensor() + b"."), ("a/data/0", b"\0" * 16), ("a/version", b"3\n"))


def edited(old: bytes, new: bytes, *, last: bool = False) -> bytes:
    """The good archive with the first (or last) ``old`` replaced."""
    at = GOOD.rindex(old) if last else GOOD.index(old)
    return GOOD[:at] + new + GOOD[at + len(old) :]


def central(field: int, layout: str, value: int, member: str = "a/data/0") -> bytes:
    """The good archive with one field in the central directory entry of ``member`` overwritten."""
    at = GOOD.rindex(member.encode()) - 46
    assert GOOD[at : at + 4] == b"PK\x01\x02"
    content = bytearray(GOOD)
    struct.pack_into(layout, content, at + field, value)
    return bytes(content)


def end_record(field: int, layout: str, value: int) -> bytes:
    content = bytearray(GOOD)
    struct.pack_into(layout, content, len(content) - 22 + field, value)
    return bytes(content)


def overlapping() -> bytes:
    """Two entries of the central directory that share the same bytes, as in Fifield's zip bomb."""
    at = GOOD.rindex(b"a/data/0") - 46
    entry = GOOD[at : at + 46 + 8]
    content = GOOD[: len(GOOD) - 22] + entry.replace(b"a/data/0", b"a/data/1")
    start = GOOD.index(b"PK\x01\x02")
    return content + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 5, 5, len(content) - start, start, 0)


def command(module: str, name: str) -> Callable[[], bytes]:
    return lambda: pickled(call(module, name, text("touch /tmp/owned")))


CODE: dict[str, Callable[[], bytes]] = {
    f"call {module}.{name}": command(module, name)
    for module, name in (
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("__builtin__", "exec"),
        ("builtins", "getattr"),
        ("builtins", "__import__"),
        ("importlib", "import_module"),
        ("runpy", "_run_code"),
        ("operator", "attrgetter"),
        ("functools", "partial"),
        ("pickle", "loads"),
        ("torch", "load"),
        ("torch.serialization", "load"),
        ("torch.hub", "load"),
        ("torch._utils", "_rebuild_sparse_tensor"),
        ("torch._utils", "_rebuild_qtensor"),
        ("torch._utils", "_rebuild_wrapper_subclass"),
        ("torch._utils", "_rebuild_meta_tensor_no_storage"),
        ("torch._utils", "_rebuild_parameter_with_state"),
        ("torch._tensor", "_rebuild_from_type_v2"),
        ("torch.jit._pickle", "build_intlist"),
        ("torch.fx.graph_module", "reduce_graph_module"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("collections", "defaultdict"),
        ("torch", "QInt8Storage"),
        ("torch", "float32.__class__"),
        ("torch", "Size.__init__.__globals__"),
    )
}

PICKLES: dict[str, Callable[[], bytes]] = {
    "protocol 0": lambda: archive(b"cos\nsystem\n(S'true'\ntR."),
    "protocol 4 stack global": lambda: archive(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R."),
    "stack global in protocol 2": lambda: pickled(text("os") + text("system") + b"\x93"),
    "INST": lambda: pickled(b"(" + text("true") + b"ios\nsystem\n"),
    "OBJ": lambda: pickled(b"(" + glob("collections", "OrderedDict") + b"o"),
    "NEWOBJ": lambda: pickled(glob("collections", "OrderedDict") + b")\x81"),
    "NEWOBJ_EX": lambda: pickled(glob("collections", "OrderedDict") + b")}\x92"),
    "EXT1": lambda: pickled(b"\x82\x01"),
    "PERSID": lambda: pickled(b"Pstorage\n"),
    "POP and DUP": lambda: pickled(b"N20N0"),
    "FRAME of 2**63": lambda: pickled(b"\x95" + struct.pack("<Q", 1 << 63)),
    "BUILD on a dict": lambda: pickled(b"}}b"),
    "BUILD of __class__": lambda: pickled(HOOKS + b"}" + text("__class__") + b"Nsb"),
    "BUILD of __dict__": lambda: pickled(HOOKS + b"}" + text("__dict__") + b"}sb"),
    "BUILD on a tensor": lambda: pickled(tensor() + b"}b"),
    "OrderedDict with arguments": lambda: pickled(call("collections", "OrderedDict", b"]")),
    "call of a storage class": lambda: pickled(call("torch", "FloatStorage", number(1 << 40))),
    "call of a dtype": lambda: pickled(call("torch", "float32")),
    "call of a tensor": lambda: pickled(tensor() + b")R"),
    "storage class as a value": lambda: pickled(glob("torch", "FloatStorage")),
    "callable as a value": lambda: pickled(glob("torch._utils", "_rebuild_tensor_v2")),
    "encode by a codec that inflates": lambda: pickled(call("_codecs", "encode", text("x"), text("zip"))),
    "encode by rot13": lambda: pickled(call("_codecs", "encode", text("x"), text("rot13"))),
    "bytearray of 1 TB": lambda: pickled(call("__builtin__", "bytearray", number(1 << 40))),
    "bytes of 1 TB": lambda: pickled(call("__builtin__", "bytes", number(1 << 40))),
    "set of a list": lambda: pickled(call("__builtin__", "set", b"](]e")),
    "complex of a string": lambda: pickled(call("__builtin__", "complex", text("1"))),
    "Size of a negative": lambda: pickled(call("torch", "Size", numbers(-1))),
    "LONG4 of 2 GB": lambda: pickled(b"\x8b" + struct.pack("<i", (1 << 31) - 1)),
    "LONG4 of negative size": lambda: pickled(b"\x8b" + struct.pack("<i", -1)),
    "LONG as a million digits": lambda: pickled(b"L" + b"9" * MIB + b"L\n"),
    "LONG1 beyond the end": lambda: archive(P + b"\x8a\xff\x01"),
    "BINUNICODE of 4 GB": lambda: pickled(b"X\xff\xff\xff\xff"),
    "BINUNICODE that is not UTF-8": lambda: pickled(b"X\x02\0\0\0\xc3\x28"),
    "BINUNICODE8 of 2**63": lambda: pickled(b"\x8d" + struct.pack("<Q", 1 << 63)),
    "BINBYTES8 of 2**63": lambda: pickled(b"\x8e" + struct.pack("<Q", 1 << 63)),
    "BYTEARRAY8 of 1 TB": lambda: pickled(b"\x96" + struct.pack("<Q", 1 << 40)),
    "STRING with an escape": lambda: pickled(b"S'\\x41'\n"),
    "GLOBAL without an end": lambda: archive(P + b"c" + b"a" * MIB),
    "memo read before written": lambda: pickled(b"h\x05"),
    "memo index 2**32-1": lambda: pickled(b"j\xff\xff\xff\xff"),
    "memo bomb of tuples": lambda: pickled(b"N" + b"".join(b"q%c0h%ch%c\x86" % (i, i, i) for i in range(3))),
    "doubling tuples": lambda: pickled(b"Nq\0" + b"".join(b"h%c\x86q%c" % (i, i + 1) for i in range(62))),
    "doubling lists": lambda: pickled(b"(]q\0" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(60)) + b"t"),
    "list in itself": lambda: pickled(b"]q\0h\0a"),
    "dict in itself": lambda: pickled(b"}q\0Nh\0s"),
    "tuple in itself": lambda: pickled(b"]q\0(h\0tq\1a"),
    "state dict metadata in itself": lambda: pickled(HOOKS + b"q\0}" + text("_metadata") + b"h\0sb"),
    "lists nested 100,000 deep": lambda: pickled(b"]" * 100_000 + b"a" * 99_999),
    "tuples nested 100,000 deep": lambda: pickled(b")" + b"\x85" * 100_000),
    "dicts nested 100 deep": lambda: pickled(b"}" + b"N}" * 99 + b"s" * 99),
    "a million dicts": lambda: pickled(b"](" + b"}" * 1_000_000 + b"e"),
    "two million marks": lambda: pickled(b"(" * 2_000_000),
    "key that is a list": lambda: pickled(b"}]Ns"),
    "key that is a tuple of tuples": lambda: pickled(b"}(((tttNs"),
    "key that is a tensor": lambda: pickled(b"}" + tensor() + b"Ns"),
    "keys that collide": lambda: pickled(
        b"}(" + b"".join(number(i * ((1 << 61) - 1)) + b"N" for i in range(20_000)) + b"u"
    ),
    "keys that are many tuples": lambda: pickled(b"}(" + b"".join(numbers(i) + b"N" for i in range(5000)) + b"u"),
    "key without value": lambda: pickled(b"}(NNNu"),
    "append to a tuple": lambda: pickled(b")Na"),
    "append to a tensor": lambda: pickled(tensor() + b"Na"),
    "items of a list": lambda: pickled(b"]NNs"),
    "empty stack": lambda: pickled(b"\x85"),
    "no mark": lambda: pickled(b"Nt"),
    "pop below a mark": lambda: pickled(b"N(\x85t"),
    "bytes after STOP": lambda: archive(P + b"N.cos\nsystem\n."),
    "objects left on the stack": lambda: pickled(b"NN"),
    "nothing on the stack": lambda: pickled(b""),
    "no STOP": lambda: archive(P + b"N"),
    "empty pickle": lambda: archive(b""),
    "unknown opcode": lambda: pickled(b"\xff"),
}

GEOMETRY: dict[str, Callable[[], bytes]] = {
    "persistent id of a module": lambda: pickled(storage(tag="module")),
    "persistent id that is a string": lambda: pickled(text("storage") + b"Q"),
    "persistent id that is too short": lambda: pickled(many(text("storage")) + b"Q"),
    "storage key ../../etc/passwd": lambda: pickled(storage(key="../../etc/passwd")),
    "storage key of Arabic digits": lambda: pickled(storage(key="\u0660")),
    "storage that is missing": lambda: pickled(storage(key="7")),
    "storage of 2**62 elements": lambda: pickled(storage(numel=number(1 << 62))),
    "storage of 2**64 elements": lambda: pickled(storage(numel=number(1 << 64))),
    "storage of -1 elements": lambda: pickled(storage(numel=number(-1))),
    "storage of True elements": lambda: pickled(storage(numel=b"\x88")),
    "storage larger than its member": lambda: pickled(storage(numel=number(5))),
    "storage smaller than its member": lambda: pickled(storage(numel=number(3))),
    "storage of two dtypes": lambda: pickled(many(tensor(), tensor(storage("IntStorage")))),
    "storage as Parameter": lambda: pickled(call("torch._utils", "_rebuild_parameter", storage(), b"\x88", HOOKS)),
    "bool storage of other bytes": lambda: archive(
        P + tensor(storage("BoolStorage", numel=number(16)), size=numbers(16)) + b".", data=b"\x07" * 16
    ),
    "offset beyond the storage": lambda: pickled(tensor(offset=number(1))),
    "offset of -1": lambda: pickled(tensor(offset=number(-1))),
    "offset of 2**63": lambda: pickled(tensor(offset=number(1 << 63))),
    "offset that is a float": lambda: pickled(tensor(offset=b"G" + b"\0" * 8)),
    "size beyond the storage": lambda: pickled(tensor(size=numbers(5))),
    "size of -4": lambda: pickled(tensor(size=numbers(-4))),
    "size that is a list": lambda: pickled(tensor(size=b"]")),
    "size of 2**62 with stride 0": lambda: pickled(tensor(size=numbers(1 << 62), stride=numbers(0))),
    "size of 2**40 with stride 0": lambda: pickled(tensor(size=numbers(1 << 40), stride=numbers(0))),
    "expanded tensors that add up": lambda: pickled(many(*[tensor(size=numbers(1 << 22), stride=numbers(0))] * 6)),
    "size whose product wraps": lambda: pickled(tensor(size=numbers(1 << 32, 1 << 32), stride=numbers(0, 0))),
    "empty but of absurd size": lambda: pickled(tensor(size=numbers(0, 1 << 62, 1 << 62), stride=numbers(1, 1, 1))),
    "stride of -1": lambda: pickled(tensor(stride=numbers(-1))),
    "stride beyond the storage": lambda: pickled(tensor(size=numbers(2), stride=numbers(4))),
    "stride that wraps": lambda: pickled(tensor(size=numbers(3), stride=numbers(1 << 62))),
    "fewer strides than sizes": lambda: pickled(tensor(size=numbers(2, 2))),
    "65 dimensions": lambda: pickled(tensor(size=numbers(*[1] * 65), stride=numbers(*[1] * 65))),
    "100,000 dimensions": lambda: pickled(tensor(size=numbers(*[200] * 100_000), stride=numbers(*[0] * 100_000))),
    "requires_grad that is a number": lambda: pickled(tensor(grad=number(1))),
    "hooks that are a list": lambda: pickled(tensor(hooks=b"]")),
    "unknown metadata": lambda: pickled(
        tensor(storage(), number(0), numbers(4), numbers(1), b"\x89", HOOKS, b"}" + text("x") + b"\x88s")
    ),
    "conjugate of floats": lambda: pickled(
        tensor(storage(), number(0), numbers(4), numbers(1), b"\x89", HOOKS, b"}" + text("conj") + b"\x88s")
    ),
    "negative of bools": lambda: pickled(
        tensor(
            storage("BoolStorage", numel=number(16)),
            number(0),
            numbers(4),
            numbers(1),
            b"\x89",
            HOOKS,
            b"}" + text("neg") + b"\x88s",
        )
    ),
    "second dtype of a typed storage": lambda: pickled(
        tensor(
            storage(),
            number(0),
            numbers(4),
            numbers(1),
            b"\x89",
            HOOKS,
            glob("torch", "int64"),
            rebuild="_rebuild_tensor_v3",
        )
    ),
    "dtype that is a string": lambda: pickled(
        tensor(
            storage("UntypedStorage"),
            number(0),
            numbers(4),
            numbers(1),
            b"\x89",
            HOOKS,
            text("int64"),
            rebuild="_rebuild_tensor_v3",
        )
    ),
    "int64 view of 16 bytes, 4 elements": lambda: pickled(
        tensor(
            storage("UntypedStorage", numel=number(16)),
            number(0),
            numbers(4),
            numbers(1),
            b"\x89",
            HOOKS,
            glob("torch", "int64"),
            rebuild="_rebuild_tensor_v3",
        )
    ),
}

ARCHIVES: dict[str, Callable[[], bytes]] = {
    "empty file": lambda: b"",
    "four bytes": lambda: b"PK\x03\x04",
    "end record only": lambda: GOOD[-22:],
    "legacy format": lambda: b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
    "bare pickle": lambda: P + call("os", "system", text("true")) + b".",
    "tar": lambda: b"storages\0" + b"\0" * 1000,
    "ELF before the archive": lambda: b"\x7fELF" + GOOD,
    "shell script before the archive": lambda: b"#!/bin/sh\ntrue\n" + GOOD,
    "zip before the archive": lambda: zipped(*NAMES) + GOOD,
    "bytes after the archive": lambda: GOOD + b"\0",
    "archive comment": lambda: end_record(20, "<H", 3) + b"abc",
    "second end record in the comment": lambda: end_record(20, "<H", 22) + GOOD[-22:],
    "truncated": lambda: GOOD[:-30],
    "gap between members": lambda: edited(b"PK\x03\x04", b"\0\0\0\0PK\x03\x04", last=True),
    "overlapping members": overlapping,
    "duplicate members": lambda: archive(P + tensor() + b".", more=(("a/data/0", b"\0" * 16),)),
    "member ../evil": lambda: zipped(*NAMES, ("../evil", b"")),
    "member a/../../evil": lambda: zipped(*NAMES, ("a/../../evil", b"")),
    "member /etc/passwd": lambda: zipped(*NAMES, ("/etc/passwd", b"")),
    "member with a backslash": lambda: zipped(*NAMES, ("a\\..\\evil", b"")),
    "member on a drive": lambda: zipped(*NAMES, ("C:/evil", b"")),
    "member that is a folder": lambda: zipped(*NAMES, ("a/folder/", b"")),
    "member name of 10,000 characters": lambda: zipped(*NAMES, ("a/" + "x" * 10_000, b"")),
    "members in two folders": lambda: zipped(*NAMES, ("b/data.pkl", b"")),
    "no data.pkl": lambda: zipped(*NAMES[1:]),
    "no version": lambda: zipped(*NAMES[:2]),
    "version 99": lambda: zipped(*NAMES[:2], ("a/version", b"99\n")),
    "version of a megabyte": lambda: zipped(*NAMES[:2], ("a/version", b"3" * MIB)),
    "big-endian": lambda: zipped(*NAMES, ("a/byteorder", b"big")),
    "TorchScript": lambda: zipped(*NAMES, ("a/constants.pkl", b"")),
    "wrong CRC of a storage": lambda: edited(b"\0" * 16, b"\0" * 15 + b"\1"),
    "wrong CRC of the pickle": lambda: edited(b"_rebuild_tensor_v2", b"_rebuild_tensor_v3"),
    "CRC lies in the directory": lambda: central(16, "<I", 0),
    "size lies": lambda: central(24, "<I", 1 << 31),
    "stored size lies": lambda: central(20, "<I", 1 << 31),
    "both sizes lie": lambda: central(20, "<Q", (1 << 30) * ((1 << 32) + 1)),
    "size in a zip64 field that is missing": lambda: central(24, "<I", 0xFFFFFFFF),
    "header offset lies": lambda: central(42, "<I", 0),
    "header offset beyond the file": lambda: central(42, "<I", 1 << 31),
    "encrypted": lambda: central(8, "<H", 1 | 1 << 11),
    "unknown method": lambda: central(10, "<H", 93),
    "method contradicts": lambda: central(10, "<H", 8),
    "on another disk": lambda: central(34, "<H", 1),
    "member comment": lambda: central(32, "<H", 5),
    "65,535 members announced": lambda: end_record(8, "<I", 0xFFFFFFFF),
    "directory offset lies": lambda: end_record(16, "<I", 0),
    "directory size lies": lambda: end_record(12, "<I", 1 << 31),
    "split archive": lambda: end_record(4, "<H", 1),
    "names differ": lambda: edited(b"a/data/0", b"a/data/1"),
    "deflated pickle": lambda: zipped(*NAMES, method=zipfile.ZIP_DEFLATED),
    "deflate bomb of 100 MB as storage": lambda: zipped(
        NAMES[0], ("a/data/0", b"\0" * (100 * MIB)), NAMES[2], method=zipfile.ZIP_DEFLATED
    ),
    "pickle of 65 MB": lambda: archive(P + b"N" * (65 * MIB) + b"."),
}
ATTACKS = {**CODE, **PICKLES, **GEOMETRY, **ARCHIVES}


def test_good_file_is_read() -> None:
    np.testing.assert_array_equal(read_pt(GOOD), np.zeros(4, np.float32))
    buffer = BytesIO()
    write_pt(buffer, {"weight": np.ones((2, 2))})
    assert read_pt(buffer.getvalue())["weight"].sum() == 4
    assert zlib.crc32(b"\0" * 16) == 0xECBB4B55


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_refused(name: str, watch: Watch) -> None:
    content = ATTACKS[name]()
    watch.seen.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    watch.on = True
    try:
        with pytest.raises(FormatError) as caught:
            read_pt(content)
    finally:
        watch.on = False
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert type(caught.value) is FormatError
    assert len(str(caught.value)) < 1000
    assert watch.seen == []
    assert grown <= 2 * len(content) + 64 * MIB


def test_watch_would_notice(watch: Watch) -> None:
    watch.seen.clear()
    watch.on = True
    try:
        eval("1")
    finally:
        watch.on = False
    assert "exec" in watch.seen


def test_count() -> None:
    print(f"\n{len(ATTACKS)} attacks: 0 executed, {len(ATTACKS)} refused with FormatError")
    assert len(ATTACKS) >= 60
