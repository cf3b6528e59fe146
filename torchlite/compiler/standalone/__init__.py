"""A model's computation as one file of C that needs nothing else: no Python, no library but that of mathematics."""

from torchlite.compiler.standalone.running import Compiled, compile_standalone
from torchlite.compiler.standalone.text import Standalone, WithoutC, standalone

__all__ = ["Compiled", "Standalone", "WithoutC", "compile_standalone", "standalone"]
