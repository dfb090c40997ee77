"""`predictions.npz` of a run: the labels of its test images, and what its network predicted after the last epoch."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.records.files import open_file

if TYPE_CHECKING:
    import numpy as np

PREDICTIONS = "predictions.npz"
_ODD = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    zlib.error,
    zipfile.BadZipFile,
)


def read_predictions(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels and predictions, integers [N] each.

    Raises:
        HarnessError: they were not kept, or cannot be read.
    """
    import numpy as np

    hint = "run it again, or restore the file"
    try:
        with open_file(path) as file, np.load(file) as arrays:
            label, prediction = arrays["label"], arrays["prediction"]
    except FileNotFoundError:
        raise HarnessError(f"{path} is missing", hint) from None
    except _ODD:
        raise HarnessError(f"{path} cannot be read", hint) from None
    if label.shape != prediction.shape or label.ndim != 1:
        raise HarnessError(f"{path} holds {label.size} labels and {prediction.size} predictions", hint)
    return label, prediction
