"""Each native module again in plain Python: the oracle of its tests, never used in production."""
