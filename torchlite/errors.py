"""The exceptions that reach a user, by what went wrong; the command line gives each its exit code.

Errors of the tensor library itself keep the types that PyTorch raises (`RuntimeError`, `IndexError`,
`TypeError`, `ValueError`).
"""


class TorchliteError(Exception):
    """Base of the errors below: the message says what was got, what was expected and what to do."""

    exit_code = 1


class UsageError(TorchliteError):
    """The command line was used wrongly: a flag, a path or a combination that cannot work."""

    exit_code = 2


class ConfigError(TorchliteError):
    """A configuration does not say what it must; its diagnostics carry file, line and column."""

    exit_code = 3


class DataError(TorchliteError):
    """Data is missing, unreadable or not what its card says."""

    exit_code = 5


class MissingDataError(DataError):
    """Files of a dataset are not there."""


class FormatError(TorchliteError, ValueError):
    """A file is damaged, hostile or not of the format that its reader expects."""

    exit_code = 6


class CheckpointError(TorchliteError):
    """A checkpoint is missing, corrupt or does not fit the model it is loaded into."""

    exit_code = 6


class OutOfMemoryError(TorchliteError, MemoryError):
    """A training step needs more memory than there is."""

    exit_code = 7


class NonFiniteLossError(TorchliteError):
    """The loss, a gradient or a weight became NaN or infinite.

    Attributes:
        loss: what the loss was.
        found: the message without advice, for where the run goes on.
    """

    exit_code = 8

    def __init__(self, found: str, loss: float = float("nan"), advice: str = "") -> None:
        super().__init__(f"{found}. {advice}" if advice else found)
        self.loss, self.found = loss, found


class RequirementError(TorchliteError):
    """A result did not meet what ``--require`` asked for."""

    exit_code = 9


class ExportError(TorchliteError):
    """An exported model does not compute what the original computes."""

    exit_code = 10


class UserCodeError(TorchliteError):
    """Code that the user supplied raised an exception."""

    exit_code = 11


class DeviceError(TorchliteError, RuntimeError):
    """A device or an optional package is not available here."""

    exit_code = 12


class ReproductionError(TorchliteError):
    """A run that was taken once more came to other numbers."""

    exit_code = 13


class LinAlgError(RuntimeError):
    """A matrix is singular or not positive-definite, or its factorization did not converge."""
