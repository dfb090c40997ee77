"""A run that has ended, read back: its records, its data and its trained network."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from harness.data.augment.batched import Batched, Recipe
from harness.data.cut import seen
from harness.data.normalize import normalization
from harness.data.prepare import Splits, fingerprint, prepare
from harness.errors import HarnessError
from harness.models.network import build_network
from harness.models.pretrained import leaving_out_weights
from harness.records.result import RunResult
from harness.records.store import RunFolder
from harness.spec import ImageShape, RunSpec, parse_run_spec
from harness.spec.settings import Settings, apply


@dataclass(frozen=True)
class Trained:
    """A run that has ended.

    Attributes:
        folder: what it left.
        result: its record; status `ok`.
        spec: its options, with what `--set` changed.
    """

    folder: RunFolder
    result: RunResult
    spec: RunSpec

    @property
    def title(self) -> str:
        """The run's name in pictures."""
        return f"{self.result.suite}: {self.result.label}, seed {self.result.seed}"

    @functools.cached_property
    def splits(self) -> Splits:
        """The data that the run saw.

        Raises:
            HarnessError: they are not there, or are not those that the run saw.
        """
        if self.result.data and fingerprint(self.spec.data) != self.result.data.fingerprint:
            message = f"the data of {self.folder.path} are not those that the run saw"
            raise HarnessError(message, "name the folder of the same data with --set data.root=DIR")
        return prepare(self.spec.data, encoded=bool(self.spec.data.evaluate))

    @property
    def image_shape(self) -> ImageShape:
        """Channels, height and width as the network sees them."""
        return self.splits.image_shape(self.spec.data.augment)

    @functools.cached_property
    def network(self) -> nn.Module:
        """The trained network, on the CPU and in evaluation mode.

        Raises:
            HarnessError: there are no weights, or they are another architecture's.
        """
        network = self.untrained()
        path = self.folder.weights
        if not path.is_file():
            hint = "run it with train.keep_weights: true (the default); results of older versions have no weights"
            raise HarnessError(f"{path} does not exist", hint)
        try:
            network.load_state_dict(load_file(path))
        except (RuntimeError, SafetensorError) as error:
            first = " ".join(str(error).split())[:200]
            message = f"{path} does not hold the weights of {self.spec.model.name} as the run's spec has it: {first}"
            raise HarnessError(message, "run it again, or restore the file") from None
        return network.eval()

    def untrained(self) -> nn.Module:
        """Returns the network as the architecture builds it, on the CPU, with weights drawn anew."""
        with leaving_out_weights():  # those of the run take the place of pretrained ones, which need not be here
            return build_network(self.spec.model, self.image_shape, len(self.splits.class_names))

    @functools.cached_property
    def mean_and_std(self) -> tuple[Tensor, Tensor]:
        """What images are normalised with, each float [C, 1, 1]; pixel values are in [0, 1]."""
        mean, std = normalization(self.spec.data, self.splits.train)
        return torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)

    def test_images(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Returns test images as the network takes them, float [N, C, H, W], and their labels int64 [N].

        Raises:
            HarnessError: the test split has no image of a number, or no number is given.
        """
        split = self.splits.test
        if not len(numbers):
            raise HarnessError("no test image is asked for", "name some, e.g. --set images=[0]")
        for number in numbers:
            if not 0 <= number < len(split.labels):
                message = f"the test split has no image {number}"
                raise HarnessError(message, f"it has {len(split.labels)}, counted from 0")
        mean, std = (tuple(each.flatten().tolist()) for each in self.mean_and_std)
        pixels = torch.from_numpy(seen(split, np.array(numbers))).permute(0, 3, 1, 2)
        evaluate = Batched(Recipe(self.spec.data.augment, mean, std), pixels.device).evaluate
        return evaluate(pixels), torch.from_numpy(split.labels[list(numbers)])

    def pixels(self, images: Tensor) -> Tensor:
        """Returns normalised images as pixel values in [0, 1], float [N, C, H, W]."""
        mean, std = self.mean_and_std
        return (images * std + mean).clamp(0, 1)

    def layer(self, name: str) -> nn.Module:
        """Returns a part of the network by its dotted name.

        Raises:
            HarnessError: there is no such layer; the hint lists those that there are.
        """
        layers = {path: module for path, module in self.network.named_modules() if path}
        if name not in layers:
            raise HarnessError(f"{self.spec.model.name} has no layer '{name}'", f"layers: {', '.join(layers)}")
        return layers[name]

    def convolutions(self) -> dict[str, nn.Conv2d]:
        """Returns the convolutions by their dotted names, the first one first.

        Raises:
            HarnessError: the network has none.
        """
        found = {name: module for name, module in self.network.named_modules() if isinstance(module, nn.Conv2d)}
        if not found:
            raise HarnessError(f"{self.spec.model.name} has no convolution", "choose a run of another architecture")
        return found

    def convolution(self, name: str | None) -> tuple[str, nn.Conv2d]:
        """Returns a convolution and its dotted name; without a name, the first one.

        Raises:
            HarnessError: there is no such convolution; the hint lists those that there are.
        """
        found = self.convolutions()
        name = name or next(iter(found))
        if name not in found:
            raise HarnessError(f"{self.spec.model.name} has no convolution '{name}'", f"valid: {', '.join(found)}")
        return name, found[name]


def find_run(text: str, root: Path) -> RunFolder:
    """Returns the folder of a run.

    Args:
        text: the folder, or the beginning of a run_id.
        root: the results root, for an id.

    Raises:
        HarnessError: there is none, or several.
    """
    path = Path(text)
    if path.is_dir():
        inner = [path] if (path / "result.json").is_file() else [each.parent for each in path.glob("*/result.json")]
        found, where = inner, str(path)
    else:
        found = [each.parent for each in root.glob(f"*/{text}*/*/result.json")] if text.isalnum() else []
        where = f"{root}/*/{text}*"
    if not found:
        raise HarnessError(f"no run has ended in {where}", "name its folder, or its id as `harness plan` shows it")
    if len(found) > 1:  # copies in other folders count for nothing; where none counts, its reader says why
        found = [each for each in found if RunFolder(each).result()] or found
    if len(found) > 1:
        names = ", ".join(map(str, sorted(found)[:4]))
        raise HarnessError(f"'{text}' stands for {len(found)} runs: {names}", "name one of these folders")
    return RunFolder(found[0])


def read_run(folder: RunFolder, settings: Settings) -> Trained:
    """Reads a run back.

    Args:
        folder: what it left.
        settings: by dotted path, what to change in its spec, e.g. {"data.root": "/data"}.

    Raises:
        HarnessError: its record cannot be read, or it did not end well.
    """
    result, why = folder.read()
    if result is None:
        raise HarnessError(f"{folder.path} holds no valid result.json{why and ': '}{why}", "run it again")
    if result.status != "ok":
        raise HarnessError(f"the run in {folder.path} ended as '{result.status}'", "choose one that ended as ok")
    values = json.loads(json.dumps(result.spec))
    model = values["model"]
    if model["name"].startswith("torchvision/") and "weights" in model:  # as `pretrained` was called at first
        model["pretrained"] = model.pop("weights") or False
    apply(values, settings)
    return Trained(folder, result, parse_run_spec(values))
