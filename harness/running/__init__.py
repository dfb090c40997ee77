"""Runs done: from a process of a launch, along the plan, to what each run came to."""
