"""One kind of picture a file, each a function marked with `harness.registry.picture`.

It takes `run: Trained`, or `runs: Sequence[Trained]` where several are drawn into one picture, and returns `Picture`s.
What stands behind the `*` are the parameters that `harness visualize --set` may set.
"""
