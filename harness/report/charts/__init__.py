"""The charts, each declared once with Altair; `drawing` makes files of them."""
