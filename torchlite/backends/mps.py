"""``torch.backends.mps``: GPUs of Apple's, which are not supported."""


def is_available() -> bool:
    """False."""
    return False


def is_built() -> bool:
    """False."""
    return False
