"""From the results of a suite to tables, files and charts that compare run time against accuracy.

Data flows one way: a study -> `build` reads what lies beside its records and makes one table per system, ranked, of
`numbers` and factors, by the methods of `statistics` -> `tables` holds them -> the renderings: `formats`, `charts` and
`page`; `write` puts the files into a folder; `of_suite` does all of it. docs/columns.md says what every column means.
"""
