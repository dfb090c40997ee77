"""Is A more accurate, is A faster: two configs, or a whole table of them, compared over the seeds they share.

`compared` makes what a call asks for, `comparison` compares two configs, `gate` holds them against a limit, and
`sentences`, `show` and `plain` write what was found. Each verdict is of `harness.results.answers`.
docs/method.md says what each number is, and what it cannot tell.
"""
