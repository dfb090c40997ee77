"""Metrics of the test predictions: one a file, each a function marked with `harness.registry.metric`.

Those that the training loop needs after each epoch are counted on the device, see `harness.training.metrics`.
"""
