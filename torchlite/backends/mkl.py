"""``torch.backends.mkl``."""


def is_available() -> bool:
    """False: MKL is not asked for; NumPy may have been built with it."""
    return False
