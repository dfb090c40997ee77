"""The renderings of a report: terminal, Markdown, LaTeX, and for machines CSV, Parquet and JSON."""
