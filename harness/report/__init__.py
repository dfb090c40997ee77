"""From the results of a suite to tables, files and charts that compare run time against accuracy.

Data flows one way: `rows` (one per config and system) -> `build` (one table per system, ranked) -> the renderings:
`terminal`, `markdown`, `latex`, `machine` (CSV, Parquet, JSON) and `chart`; `write` puts them all into a folder.
docs/columns.md says what every column means.
"""
