"""Is A more accurate, is A faster: two configs, or a whole table of them, compared over the seeds they share.

Data flows one way: `measured` (what counts of a run, from its record or from a `baseline`) -> `pairs` (the runs of two
configs, seed by seed) -> `answers` (difference, interval, test, verdict; by `differences`, `bootstrap`, `power`,
`mcnemar`) -> `comparison` (two configs) -> `several` (many, corrected) and `gate` -> `sentences`, `tables`, `plain`.
docs/method.md says what each number is, and what it cannot tell.
"""
