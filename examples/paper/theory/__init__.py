"""The paper's theorems as measurements, on the interval, where everything can be computed."""
