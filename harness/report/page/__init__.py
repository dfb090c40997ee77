"""The report as one page: a file that opens from disk, asks no network, and says first what to take.

`sections` gathers what a page asks of a suite's report; the template shows it in its order; `write` puts in the charts'
specifications and Vega.
"""
