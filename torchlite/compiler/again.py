"""What ends a trace that has found out something about its function which the next trace has to begin with."""


class Again(BaseException):
    """A reason to trace the function once more; no ``except Exception`` in it may swallow it. `Learned` takes note of it."""
