"""Which test images a run recognised, from its stored predictions."""

from __future__ import annotations

import base64
import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.records.files import open_file

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class Outcomes:
    """One bit for each test image.

    Attributes:
        labels_sha256: of the true labels in their order: two runs with the same saw the images in the same order.
        correct: whether the first prediction was right, bool [N].
    """

    labels_sha256: str
    correct: np.ndarray

    def packed(self) -> str:
        """Returns the bits as text: packed, deflated, base64."""
        import numpy as np

        return base64.b64encode(zlib.compress(np.packbits(self.correct).tobytes(), 9)).decode()

    @staticmethod
    def unpacked(labels_sha256: str, text: str, count: int) -> Outcomes:
        """Returns the outcomes of `packed`.

        Args:
            count: how many images there are.

        Raises:
            ValueError: the text is none, or is of another length.
        """
        import numpy as np

        try:
            packed = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), np.uint8)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        if len(packed) != (count + 7) // 8:
            raise ValueError(f"{8 * len(packed)} bits for {count} images")
        return Outcomes(labels_sha256, np.unpackbits(packed, count=count).astype(bool))


def read_outcomes(path: Path) -> Outcomes:
    """Reads a run's `predictions.npz`.

    Raises:
        HarnessError: it is missing, or cannot be read.
    """
    import numpy as np

    hint = "run it again, or restore the file"
    try:
        with open_file(path) as file, np.load(file) as arrays:
            label, prediction = arrays["label"], arrays["prediction"]
    except FileNotFoundError:
        raise HarnessError(f"{path} is missing", hint) from None
    except (OSError, ValueError, EOFError, KeyError, MemoryError, NotImplementedError, zlib.error, zipfile.BadZipFile):
        raise HarnessError(f"{path} cannot be read", hint) from None
    if label.shape != prediction.shape or label.ndim != 1:
        message = f"{path} holds {label.size} labels and {prediction.size} predictions"
        raise HarnessError(message, hint)
    digest = hashlib.sha256(np.ascontiguousarray(label, dtype="<i4").tobytes()).hexdigest()
    return Outcomes(digest, label == prediction)
