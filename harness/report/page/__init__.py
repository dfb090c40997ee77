"""The report as one page: a file that opens from disk, asks no network, and says first what to take.

`standing` and `budgets` decide what the answer is; `words` says it; `sections` makes plain data of all there is to say
(`parts`); `render` puts them into the template, with the charts' specifications and Vega inline.
"""
