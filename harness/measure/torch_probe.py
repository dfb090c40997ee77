"""What torch sees here, as JSON: `python -m harness.measure.torch_probe`. In a process of its own, since a torch that
does not fit its driver may do worse than raise."""

from __future__ import annotations

import json
import sys
import warnings


def probe() -> dict[str, object]:
    """Returns torch's version, CUDA, architectures (e.g. "sm_90") and the names of the GPUs that it can use."""
    import torch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] if available else []
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "architectures": torch.cuda.get_arch_list(),
        "gpus": names,
        "warning": str(caught[0].message).partition("\n")[0] if caught else None,
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(probe()) + "\n")
