"""What a report says of the runs of one system: columns, rows, fronts, prices, curves, noise, and the notes.

`rows` makes one row per config and system with the values of `columns`; the others add to it, or stand below it.
"""
