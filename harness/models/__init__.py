"""Architectures: one family a file, each a function marked with `harness.registry.architecture`.

Every one takes float images [N, channels, height, width] and returns logits [N, num_classes]. To add one, add
a file.
"""
