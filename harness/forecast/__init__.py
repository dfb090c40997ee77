"""How long a suite will take and what it needs, before it is run."""
