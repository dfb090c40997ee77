"""From the results of a suite to tables, files and charts that compare run time against accuracy.

Data flows one way: `of_suite` gathers the material (the plans, what lies on disk) -> `build` makes one table per
system, ranked, of `numbers` and `factors`, by the methods of `statistics` -> `tables` holds them -> the renderings:
`formats` and `charts`; `write` puts them all into a folder. docs/columns.md says what every column means.
"""
