"""Sequences of different lengths: packed without padding, or padded into one tensor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.ops.argsort import argsort
from torchlite.ops.arithmetic import where
from torchlite.ops.creation import arange, as_tensor
from torchlite.ops.joining import stack
from torchlite.ops.scan import cumsum


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """The steps of several sequences, step by step: all first elements, then all second ones, and so on.

    The sequences are sorted by length, longest first, so that each step has the first so many of them.

    Attributes:
        data: (total length, *), the steps.
        batch_sizes: how many sequences each step has.
        sorted_indices, unsorted_indices: the order of the sequences, and the one that undoes it; None where they were
            given in order.
    """

    __slots__ = ()

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        """Find ``unsorted_indices`` where only the order itself is given.

        Raises:
            ValueError: without batch sizes, and when those are not on the CPU.
        """
        if batch_sizes is None:
            raise ValueError("a PackedSequence needs batch_sizes; pack_padded_sequence makes one")
        if batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be created manually."
            )
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """On another device, or with data of another dtype."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        indices = (None if x is None else x.to(data.device) for x in (self.sorted_indices, self.unsorted_indices))
        return type(self)(data, self.batch_sizes, *indices)

    def cpu(self) -> PackedSequence:
        """In host memory."""
        return self.to("cpu")

    def cuda(self, device: Any = None) -> PackedSequence:
        """On a GPU."""
        return self.to("cuda" if device is None else device)

    def double(self) -> PackedSequence:
        """With data as float64."""
        return self.to(dtypes.float64)

    def float(self) -> PackedSequence:
        """With data as float32."""
        return self.to(dtypes.float32)

    def half(self) -> PackedSequence:
        """With data as float16."""
        return self.to(dtypes.float16)

    def long(self) -> PackedSequence:
        """With data as int64."""
        return self.to(dtypes.int64)

    def int(self) -> PackedSequence:
        """With data as int32."""
        return self.to(dtypes.int32)

    @property
    def is_cuda(self) -> bool:
        """Whether the data is on a GPU."""
        return self.data.is_cuda


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The order that undoes ``permutation``."""
    return None if permutation is None else argsort(permutation)


def _positions(batch_sizes: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Where in packed data each step of each sequence is, (T, N), and which of them there are."""
    number = arange(samples)
    present = number < batch_sizes.unsqueeze(1)
    first = (cumsum(batch_sizes, 0) - batch_sizes).unsqueeze(1)
    return where(present, first + number, 0), present


def padded_steps(data: Tensor, batch_sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Packed data as (T, N, *) with anything where a sequence has ended, and which steps there are, (T, N)."""
    place, present = (x.to(data.device) for x in _positions(batch_sizes, int(batch_sizes[0])))
    return data[place], present


def packed_steps(steps: Tensor, present: Tensor) -> Tensor:
    """The elements of (T, N, *) that there are, in packed order."""
    return steps.reshape(-1, *steps.shape[2:])[present.reshape(-1)]


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Sequences in one padded tensor as a PackedSequence.

    Args:
        input: (T, N, *), or (N, T, *) where ``batch_first``.
        lengths: the N lengths, a list or a tensor on the CPU.
        batch_first: see ``input``.
        enforce_sorted: the sequences are sorted by length already, longest first; otherwise they are sorted here.

    Raises:
        RuntimeError: for lengths that are not sorted, not positive, or too many or few.
    """
    lengths = as_tensor(lengths, dtype=dtypes.int64, device="cpu")
    sorted_indices = None
    if not enforce_sorted:
        sorted_indices = argsort(lengths, descending=True, stable=True)
        lengths = lengths[sorted_indices]
        input = input[sorted_indices.to(input.device)] if batch_first else input[:, sorted_indices.to(input.device)]
        sorted_indices = sorted_indices.to(input.device)
    steps = input.transpose(0, 1) if batch_first else input
    if lengths.ndim != 1 or lengths.numel() != steps.shape[1]:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {lengths.numel()} (batch_size={steps.shape[1]})"
        )
    if lengths.numel() == 0 or int(lengths.min()) <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if bool((lengths[1:] > lengths[:-1]).any()):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence to sidestep this requirement."
        )
    longest = int(lengths[0])
    if longest > steps.shape[0]:
        raise RuntimeError(f"Expected lengths of at most {steps.shape[0]} steps, but got {longest}")
    present = arange(longest).unsqueeze(1) < lengths
    data = packed_steps(steps[:longest], present.to(input.device))
    return PackedSequence(data, present.sum(1), sorted_indices)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """A PackedSequence as one padded tensor, (T, N, *) or (N, T, *), and the lengths.

    Args:
        sequence: what `pack_padded_sequence` made.
        batch_first: give (N, T, *).
        padding_value: what stands behind the ends.
        total_length: T; by default the longest length.

    Raises:
        ValueError: for a ``total_length`` below the longest length.
    """
    longest = sequence.batch_sizes.numel()
    if total_length is not None and total_length < longest:
        raise ValueError(
            "Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {longest}"
        )
    steps, present = padded_steps(sequence.data, sequence.batch_sizes)
    lengths = present.sum(0).cpu()
    mask = present.reshape(*present.shape, *(1,) * (steps.ndim - 2))
    steps = where(mask, steps, steps.new_full((), padding_value))
    if total_length is not None and total_length > longest:
        padded = steps.new_full((total_length, *steps.shape[1:]), padding_value)
        padded[:longest] = steps
        steps = padded
    if sequence.unsorted_indices is not None:
        steps = steps[:, sequence.unsorted_indices]
        lengths = lengths[sequence.unsorted_indices.cpu()]
    return (steps.transpose(0, 1) if batch_first else steps), lengths


def pad_sequence(
    sequences: Iterable[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Tensors (Lᵢ, *) in one tensor (T, N, *), or (N, T, *) where ``batch_first``, padded at their ends.

    Args:
        sequences: the tensors.
        batch_first: see above.
        padding_value: what stands behind the ends.
        padding_side: "right", or "left" to put it before the beginnings.

    Raises:
        RuntimeError: for anything that is no iterable of tensors, and for another ``padding_side``.
    """
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"padding_side should be 'right' or 'left', got {padding_side!r}")
    if not isinstance(sequences, Iterable):
        raise RuntimeError(f"pad_sequence: Expected iterable for input sequences, but got {type(sequences).__name__}")
    rows = sequences.unbind(0) if isinstance(sequences, Tensor) else tuple(sequences)
    longest = max(len(row) for row in rows)

    def padded(row: Tensor) -> Tensor:
        out = row.new_full((longest, *row.shape[1:]), padding_value)
        out[slice(longest - len(row), None) if padding_side == "left" else slice(len(row))] = row
        return out

    return stack([padded(row) for row in rows], 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The tensors that `pad_sequence` padded."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[: int(n)] for row, n in zip(rows.unbind(0), lengths, strict=True)]


def pack_sequence(sequences: list[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Tensors (Lᵢ, *) as a PackedSequence; see `pack_padded_sequence`."""
    lengths = as_tensor([len(row) for row in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The tensors that `pack_sequence` packed."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
