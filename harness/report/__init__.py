"""From the results of a suite to tables, files and charts that compare run time against accuracy.

A study -> `build` reads what lies beside its records and makes one `Table` per system, and of several one of all,
ranked, of `rows`, what is `derived` from their runs, `fronts`, effects and `notes` -> `TextTable`s, which every
rendering shows: `terminal`, `formats`, `charts`, `page`; `write` does all of it. docs/columns.md says what columns
mean.
"""
