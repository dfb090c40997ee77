"""The report as one page: a file that opens from disk, asks no network, and says first what to take.

`sections` makes plain data (`parts`) of all there is to say, in its order; `write` puts them into the template, with
the charts' specifications and Vega inline.
"""
