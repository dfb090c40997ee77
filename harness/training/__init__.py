"""The training loop and what it steps: optimizers, schedules, metrics, moving averages."""
