"""The charts: each is a function that gives a specification, a caption and its rows; `drawing` makes files of them."""
