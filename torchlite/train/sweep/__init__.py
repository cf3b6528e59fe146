"""Sweeps: trainings of one configuration with other values, chosen, run, compared and reported."""
