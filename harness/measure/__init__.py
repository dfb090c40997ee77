"""Clocks, memory, and the system they were read on."""
