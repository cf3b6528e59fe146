"""Every name that ``import torchlite as torch`` offers, from the module that defines it."""

__all__ = [name for name in dir() if not name.startswith("_")]
