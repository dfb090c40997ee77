"""Suite files: read, checked, and made into the plan of runs."""
