"""Other loaders for the task of `loaders.py`, built as their users build them.

Each is an endless sequence of batches: shuffled, cropped with a padding of 4, mirrored at random, normalised. DALI is
imported only when its batches are asked for.
"""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false
# DALI makes its operators' names when it is imported.

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from harness.data.normalize import PUBLISHED

MEAN, STD = PUBLISHED["cifar10"]
BATCH_SIZE, PADDING = 128, 4

Batches = Iterator[tuple[Tensor, Tensor]]


class Arrays(Dataset[tuple[Any, int]]):
    """Images in memory, each turned by `convert` into what the transforms take."""

    def __init__(self, images: Any, labels: np.ndarray, convert: Callable, transform: Callable) -> None:
        self._images = images
        self._labels = labels.tolist()
        self._convert = convert
        self._transform = transform

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self._transform(self._convert(self._images[index])), self._labels[index]

    def __len__(self) -> int:
        return len(self._labels)


def v1_pil(size: int) -> Callable:
    """Returns the transforms of most tutorials."""
    return transforms.Compose(
        [
            transforms.RandomCrop(size, padding=PADDING),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )


def v2_pil(size: int) -> Callable:
    """Returns torchvision's newer transforms on Pillow's images."""
    return v2.Compose(
        [
            v2.RandomCrop(size, padding=PADDING),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )


def v2_tensor(size: int) -> Callable:
    """Returns torchvision's newer transforms on uint8 tensors."""
    return v2.Compose(
        [
            v2.RandomCrop(size, padding=PADDING),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )


def as_it_is(image: Tensor) -> Tensor:
    """Returns an image."""
    return image


def torch_arrays(kind: str, images: np.ndarray, labels: np.ndarray, workers: int, device: torch.device) -> Batches:
    """Feeds images in memory, uint8 [N, H, W, C], through torch's DataLoader.

    Args:
        kind: v1_pil (a Pillow image made of each, as torchvision's CIFAR10 does), v2_pil or v2_tensor.
        images, labels: the training set.
        workers: processes; 0 does the work in this one.
        device: where batches are wanted.
    """
    size = images.shape[1]
    if kind == "v2_tensor":
        tensors = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        data = Arrays(tensors, labels, as_it_is, v2_tensor(size))
    else:
        data = Arrays(images, labels, Image.fromarray, v1_pil(size) if kind == "v1_pil" else v2_pil(size))
    return data_loader(data, workers, device)


def image_folder(folder: Path, size: int, workers: int, device: torch.device) -> Batches:
    """Feeds a folder of image files through torchvision's ImageFolder and torch's DataLoader."""
    return data_loader(ImageFolder(str(folder), v1_pil(size)), workers, device)


def data_loader(data: Dataset, workers: int, device: torch.device) -> Batches:
    """Yields the batches of torch's DataLoader, epoch after epoch."""
    loader = DataLoader(
        data,
        batch_size=BATCH_SIZE,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )
    while True:
        for images, labels in loader:
            yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


class ShuffledArrays:
    """What DALI's external source takes: whole batches of a new order in each epoch."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self._images = images
        self._labels = labels[:, None]

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = np.random.default_rng().permutation(len(self._images))
        for start in range(0, len(order), BATCH_SIZE):
            some = order[start : start + BATCH_SIZE]
            yield self._images[some], self._labels[some]


def dali_array(images: np.ndarray, labels: np.ndarray, device: torch.device) -> Batches:
    """Feeds images in memory through NVIDIA DALI, as its documentation does."""
    from nvidia.dali import fn, types
    from nvidia.dali.pipeline import pipeline_def
    from nvidia.dali.plugin.pytorch import DALIGenericIterator

    cuda, size = device.type == "cuda", images.shape[1]

    @pipeline_def(batch_size=BATCH_SIZE, num_threads=os.cpu_count() or 1, device_id=0 if cuda else None)
    def graph() -> Any:
        source = ShuffledArrays(images, labels)
        pictures, classes = fn.external_source(source, 2, batch=True, cycle="raise", layout=["HWC", ""])
        # Padding before a crop at random: a window that may reach beyond the image.
        start = fn.random.uniform(values=list(range(-PADDING, PADDING + 1)), shape=2, dtype=types.INT32)
        window = fn.slice(
            pictures.gpu() if cuda else pictures,
            start=start,
            shape=[size, size],
            axes=[0, 1],
            out_of_bounds_policy="pad",
            fill_values=0,
        )
        normalized = fn.crop_mirror_normalize(
            window,
            mirror=fn.random.coin_flip(),
            dtype=types.FLOAT,
            output_layout="CHW",
            mean=[255 * value for value in MEAN],
            std=[255 * value for value in STD],
        )
        return normalized, classes.gpu() if cuda else classes

    loader = DALIGenericIterator(graph(), ["images", "labels"], auto_reset=True)
    while True:
        for (batch,) in loader:
            yield batch["images"], batch["labels"].squeeze(1)


def airbench(images: np.ndarray, labels: np.ndarray, device: torch.device) -> Batches:
    """Feeds a data set that lies on the GPU in half precision, as airbench's loader does (arXiv 2404.00498).

    It is normalised, mirrored at random and padded once; each epoch crops and mirrors the whole of it in a few
    operations and then takes batches by their indices. What comes out is float16 and channels last, as its users feed.
    """
    classes = torch.from_numpy(labels).to(device)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
    padded = F.pad(torch.from_numpy(images).to(device).permute(0, 3, 1, 2), (PADDING,) * 4)
    padded = ((padded.float() / 255 - mean) / std).half().to(memory_format=torch.channels_last)
    mirrored = torch.rand(len(padded), device=device) < 0.5
    padded = torch.where(mirrored.view(-1, 1, 1, 1), padded.flip(3), padded)
    for epoch in range(2**63):
        cropped = crop_all(padded, images.shape[1])
        cropped = cropped.flip(3) if epoch % 2 else cropped
        for indices in torch.randperm(len(cropped), device=device).split(BATCH_SIZE):
            yield cropped[indices], classes[indices]


def crop_all(padded: Tensor, size: int) -> Tensor:
    """Crops each image elsewhere: first all rows, then all columns, those of one shift at once."""
    shifts = torch.randint(2 * PADDING + 1, (2, len(padded)), device=padded.device)
    count, channels, _, width = padded.shape
    rows, cropped = (
        torch.empty(
            (count, channels, size, columns),
            dtype=padded.dtype,
            device=padded.device,
            memory_format=torch.channels_last,
        )
        for columns in (width, size)
    )
    for shift in range(2 * PADDING + 1):
        chosen = shifts[0] == shift
        rows[chosen] = padded[chosen, :, shift : shift + size, :]
    for shift in range(2 * PADDING + 1):
        chosen = shifts[1] == shift
        cropped[chosen] = rows[chosen, :, :, shift : shift + size]
    return cropped
