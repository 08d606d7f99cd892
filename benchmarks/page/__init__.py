"""One HTML page of all results: `python -m benchmarks.page`."""
