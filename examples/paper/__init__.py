"""The paper's experiments and theorems, a command each: `python -m examples.paper NAME`."""
