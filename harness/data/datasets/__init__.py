"""The datasets: each file declares one or more with `@dataset("name")`; a new one needs no edit elsewhere."""
