"""Training from a configuration: what to do, the loop that does it, and what it leaves behind."""
