"""``torch.backends.openmp``."""


def is_available() -> bool:
    """False: threads are NumPy's own."""
    return False
