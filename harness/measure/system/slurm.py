"""The SLURM job that this process belongs to."""

from __future__ import annotations

import os
from collections.abc import Mapping

# Neither user nor account nor working folder: records are given away.
_VARIABLES = {
    "job": "SLURM_JOB_ID",
    "array_job": "SLURM_ARRAY_JOB_ID",
    "array_task": "SLURM_ARRAY_TASK_ID",
    "cluster": "SLURM_CLUSTER_NAME",
    "partition": "SLURM_JOB_PARTITION",
    "node": "SLURMD_NODENAME",
    "nodes": "SLURM_JOB_NUM_NODES",
    "cpus_on_node": "SLURM_CPUS_ON_NODE",
}


def slurm_job(environment: Mapping[str, str] = os.environ) -> dict[str, str] | None:
    """Returns what SLURM says of the job, or None outside one."""
    if "SLURM_JOB_ID" not in environment:
        return None
    return {name: environment[variable] for name, variable in _VARIABLES.items() if variable in environment}
