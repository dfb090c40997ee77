"""What a report says of the runs of one system: rows, fronts, prices, curves, drift, and the notes.

`rows` makes one row per config and system; the others give more values of it, tables below it, or notes.
"""
