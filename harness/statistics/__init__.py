"""Methods that know nothing of suites: intervals, tests, bootstrap samples and fronts of plain numbers."""
