"""Is A more accurate, is A faster: two configs, or a whole table of them, compared over the seeds they share.

`sides` reads what the words of a call name, `pair` compares two configs, `compared` all that a call asks for, with its
gates; `show` (for people) and `plain` (for programs) write it. Each verdict is of `harness.results.answers`.
docs/method.md says what each number is, and what it cannot tell.
"""
