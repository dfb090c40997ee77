"""A suite through a SLURM cluster: freezing a plan, array jobs, the queue, runs over several nodes."""
