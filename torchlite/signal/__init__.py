"""Signal processing: ``torchlite.signal``."""

from torchlite.signal import windows as windows
