"""Messages between processes, with the memory of arrays sent beside the pickle instead of in it.

Protocol 5 hands out the large buffers, which then go through the pipe as they are; the receiver's arrays lie
on fresh writable memory.
"""

import pickle
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from torchlite.backends.native.lines import at_lines


class Packed:
    """A pickled object and the buffers that belong to it."""

    def __init__(self, message: Any) -> None:
        buffers: list[pickle.PickleBuffer] = []
        self.head = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
        self.buffers = [buffer.raw() for buffer in buffers]

    def send(self, connection: "Connection[Any, Any]") -> None:
        """Write everything into `connection`."""
        connection.send((self.head, [buffer.nbytes for buffer in self.buffers]))
        for buffer in self.buffers:
            connection.send_bytes(buffer)


def receive(connection: "Connection[Any, Any]") -> Any:
    """The next message that the other side sent with `Packed.send`.

    Raises:
        EOFError, OSError: the other side is gone.
    """
    head, sizes = connection.recv()
    buffers = []
    for size in sizes:
        with at_lines(size):
            buffer = np.empty(size, np.uint8)
        connection.recv_bytes_into(buffer.data)
        buffers.append(buffer)
    return pickle.loads(head, buffers=buffers)
