"""Train every architecture x configuration of a suite and compare run time against accuracy."""

__version__ = "0.1.0"
