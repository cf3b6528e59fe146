"""Short-time Fourier transforms: spectra of overlapping windows of a signal, and the signal of such spectra."""

from __future__ import annotations

from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.composites.padding import pad
from torchlite.fft import fft, ifft, irfft, rfft
from torchlite.integers import takes_integers
from torchlite.ir import FLOAT32_ON_CPU
from torchlite.ops.complex import view_as_real
from torchlite.ops.creation import arange
from torchlite.ops.indexing import sum_at
from torchlite.tracing import valid

_SMALLEST = 1e-11  # a sum of squared windows below it counts as 0


@method()
@autocasts(FLOAT32_ON_CPU)
@takes_integers
def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """Spectra of windows of signals: Σₖ w[k] x[t · hop + k] exp(-2πi ωk / n_fft).

    Args:
        input: signals (*, length), with at most one batch dimension.
        n_fft: length of each transform.
        hop_length: distance of neighbouring windows; by default n_fft // 4.
        win_length: length of ``window``, which is centred among n_fft points; by default n_fft.
        window: the weights w; by default 1.
        center: whether window t is centred at t · hop, for which the signal is padded on both sides.
        pad_mode: how it is padded; see `torchlite.nn.functional.pad`.
        normalized: whether spectra are divided by √n_fft.
        onesided: whether only n_fft // 2 + 1 frequencies are returned; by default for real signals and windows.
        return_complex: whether the result is complex, or else has a last dimension of real and imaginary parts. To be
            given for real signals.
        align_to_window: for ``center=False``, whether the first window, not n_fft points around it, begins the signal.

    Shape:
        - result: (*, frequencies, windows)

    Raises:
        RuntimeError: for lengths and dtypes that do not fit.
    """
    complex_window = window is not None and window.is_complex()
    if return_complex is None:
        if not (input.is_complex() or complex_window):
            raise RuntimeError("stft requires the return_complex parameter be given for real inputs")
        return_complex = True
    if input._data.dtype.kind not in "fc" or not 1 <= input.ndim <= 2:
        raise RuntimeError(f"stft: expected a 1D or 2D tensor of floating point or complex numbers, got {_said(input)}")
    hop_length, win_length = _lengths("stft", n_fft, hop_length, win_length, window)
    if center and align_to_window is not None:
        raise RuntimeError("stft: align_to_window should only be set when center = false")
    signal = input.unsqueeze(0) if input.ndim == 1 else input
    if center:
        signal = pad(signal.unsqueeze(1), (n_fft // 2, n_fft // 2), pad_mode).squeeze(1)
    elif align_to_window:
        beside = (n_fft - win_length) // 2
        signal = pad(signal, (beside, n_fft - win_length - beside))
    if not 0 < n_fft <= signal.shape[-1]:
        raise RuntimeError(
            f"stft: expected 0 < n_fft <= {signal.shape[-1]}, the (padded) signal, but got n_fft={n_fft}"
        )
    frames = signal.unfold(-1, n_fft, hop_length)  # (batch, windows, n_fft)
    if window is not None:
        frames = frames * _among(window, n_fft)
    onesided = not frames.is_complex() if onesided is None else onesided
    if onesided and frames.is_complex():
        raise RuntimeError("stft: Cannot have onesided output if window or input is complex")
    spectra = (rfft if onesided else fft)(frames, norm="ortho" if normalized else None).mT
    spectra = spectra if input.ndim == 2 else spectra.squeeze(0)
    return spectra if return_complex else view_as_real(spectra)


@method()
@takes_integers
def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal of which `stft`, with the same arguments, gives spectra closest to ``input`` (*, frequencies, windows).

    It is Σ of the windowed inverse transforms over Σ of the squared windows (D. Griffin and J. Lim, 1984), cut or padded to
    ``length``.

    Raises:
        RuntimeError: where windows leave points of the signal uncovered, and for shapes and dtypes that do not fit.
    """
    if not input.is_complex():
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with return_complex=True."
        )
    if not 2 <= input.ndim <= 3 or input.numel() == 0:
        raise RuntimeError(f"istft: expected a non-empty tensor with 2 or 3 dimensions, got {_said(input)}")
    hop_length, win_length = _lengths("istft", n_fft, hop_length, win_length, window)
    if hop_length > win_length:
        raise RuntimeError(f"istft: expected 0 < hop_length <= win_length, got {hop_length} and {win_length}")
    if not return_complex and window is not None and window.is_complex():
        raise RuntimeError("istft: Complex windows are incompatible with return_complex=False")
    onesided = input.shape[-2] != n_fft if onesided is None else onesided
    if input.shape[-2] != (n_fft // 2 + 1 if onesided else n_fft):
        raise RuntimeError(
            f"istft: expected the frequency dimension to be {n_fft // 2 + 1 if onesided else n_fft} for n_fft={n_fft} and "
            f"onesided={onesided}, got {_said(input)}"
        )
    if return_complex and onesided:
        raise RuntimeError("istft: Cannot have onesided output if window or input is complex")
    spectra = (input if input.ndim == 3 else input.unsqueeze(0)).mT  # (batch, windows, frequencies)
    norm = "ortho" if normalized else None
    if return_complex:
        frames = ifft(spectra, norm=norm)
    else:
        frames = irfft(spectra if onesided else spectra[..., : n_fft // 2 + 1], n_fft, norm=norm)
    weights = frames.new_ones(n_fft) if window is None else _among(window, n_fft)
    signal = _overlapped(frames * weights, hop_length)
    squares = weights.square().expand(1, frames.shape[1], n_fft)
    envelope = _overlapped(squares, hop_length)
    start = n_fft // 2 if center else 0
    stop = start + length if length is not None else signal.shape[-1] - (n_fft // 2 if center else 0)
    signal, envelope = signal[..., start:stop], envelope[..., start:stop]
    if not envelope.is_meta and envelope.numel() and not valid(~(envelope.detach().abs().amin() < _SMALLEST)):
        raise RuntimeError("istft: the overlapping windows add up to 0 at some point of the signal")
    signal = signal / envelope
    missing = 0 if length is None else length - signal.shape[-1]
    signal = pad(signal, (0, missing)) if missing > 0 else signal
    return signal if input.ndim == 3 else signal.squeeze(0)


def _lengths(
    name: str, n_fft: int, hop_length: int | None, win_length: int | None, window: Tensor | None
) -> tuple[int, int]:
    hop_length = n_fft // 4 if hop_length is None else hop_length
    win_length = n_fft if win_length is None else win_length
    if hop_length <= 0:
        raise RuntimeError(f"{name}: expected hop_length > 0, but got hop_length={hop_length}")
    if not 0 < win_length <= n_fft:
        raise RuntimeError(f"{name}: expected 0 < win_length <= n_fft, but got {win_length} and {n_fft}")
    if window is not None and tuple(window.shape) != (win_length,):
        raise RuntimeError(
            f"{name}: expected a 1D window tensor of size equal to win_length={win_length}, but got {_said(window)}"
        )
    return hop_length, win_length


def _said(x: Tensor) -> str:
    return f"{x.dtype} of shape {list(x.shape)}"


def _among(window: Tensor, n_fft: int) -> Tensor:
    """The window in the middle of ``n_fft`` points."""
    before = (n_fft - window.shape[0]) // 2
    return pad(window, (before, n_fft - window.shape[0] - before))


def _overlapped(frames: Tensor, hop: int) -> Tensor:
    """The sum of windows (batch, windows, n) at their places, ``hop`` apart."""
    batch, count, n = frames.shape
    starts = arange(count, device=frames.device) * hop
    places = (starts.unsqueeze(1) + arange(n, device=frames.device)).reshape(-1)
    return sum_at(frames.reshape(batch, count * n), 1, places, (batch, n + hop * (count - 1)))
