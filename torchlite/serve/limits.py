"""What a server grants to those who ask."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may take.

    Attributes:
        max_batch: samples or prompts of a request.
        max_body_bytes: size of its body; of four times as much those of all requests together are.
        max_tokens: tokens that are written after a prompt.
        queue: requests that wait for the model.
        deadline_s: seconds from a request's arrival to its answer.
        read_timeout_s: seconds in which headers, and seconds in which a body, have to come.
    """

    max_batch: int = 1024
    max_body_bytes: int = 16 << 20
    max_tokens: int = 1024
    queue: int = 64
    deadline_s: float = 30.0
    read_timeout_s: float = 10.0
