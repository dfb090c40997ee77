"""Whether this machine can run a suite, and what to mend: facts, and a verdict on each."""
