"""Learning-rate schedules by name; a file here is all that a new one needs."""
