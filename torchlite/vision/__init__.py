"""Images: transforms of batches for training pipelines."""
