"""Sound: transforms of whole batches of waveforms."""
