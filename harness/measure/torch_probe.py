"""What torch sees here, as JSON: `python -m harness.measure.torch_probe`. The doctor asks in a process of its own,
since a torch that does not fit its driver may do worse than raise."""

from __future__ import annotations

import json
import sys
import warnings


def probe() -> dict[str, object]:
    """Returns torch's version, CUDA, architectures (e.g. "sm_90") and how many GPUs it can use, without a context."""
    import torch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "architectures": torch.cuda.get_arch_list(),
        "gpus": gpus,
        "warning": str(caught[0].message).partition("\n")[0] if caught else None,
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(probe()) + "\n")
