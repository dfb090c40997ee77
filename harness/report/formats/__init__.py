"""The renderings of a report: terminal, Markdown, LaTeX, and for programs CSV and JSON."""
