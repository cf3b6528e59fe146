"""The budgets that every reader keeps, so that no file can take more time or memory than it deserves."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a file may ask for; raise a field only for files that you trust.

    The defaults pass checkpoints of more than a hundred thousand tensors and of any size in bytes.
    """

    archive_members: int = 1_000_000
    """Members of a zip archive."""
    inflate_floor_bytes: int = 64 * MIB
    """What compressed members may inflate to, whatever the size of the file."""
    inflate_ratio: int = 100
    """Beyond the floor: what compressed members may inflate to, as a multiple of the file's size."""
    header_bytes: int = 16 * MIB
    """The JSON header of a safetensors file."""
    pickle_bytes: int = 64 * MIB
    """The ``data.pkl`` of a .pt file."""
    pickle_operations: int = 4_000_000
    """Opcodes that are executed."""
    pickle_memory_floor_bytes: int = 24 * MIB
    """What the objects that a pickle makes may weigh (by estimate), whatever its size."""
    pickle_memory_ratio: int = 32
    """Beyond the floor: what its objects may weigh, as a multiple of its size."""
    pickle_tuple_keys: int = 4096
    """Dict keys that are tuples: their hash is not randomised, so many could be made to collide."""
    nesting_depth: int = 64
    """Containers inside containers."""
    tree_nodes: int = 10_000_000
    """Objects met by a walk that does not know what it met before (a shared list counts each time)."""
    view_floor_bytes: int = 64 * MIB
    """What all tensors may measure together if each were copied, whatever the size of the storages."""
    view_ratio: int = 64
    """Beyond the floor: what all tensors may measure together, as a multiple of the storages' bytes."""


DEFAULT_LIMITS = Limits()
