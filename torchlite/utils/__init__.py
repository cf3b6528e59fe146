"""Utilities with the names and places that they have in PyTorch."""
