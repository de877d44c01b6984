"""Models on real data, each a command: `python -m examples.NAME --help`."""
