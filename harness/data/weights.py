"""Fetching pretrained weights to where their package looks for them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
from collections.abc import Iterator

from harness.cache import cache_root
from harness.data.download import fetch
from harness.errors import HarnessError
from harness.published_weights import Published
from harness.weights_files import MissingWeights, Weights, by_hand


def fetch_weights(weights: Weights) -> None:
    """Downloads a published file, unless it is here by now; of the processes of a machine one does, the others wait.

    Raises:
        HarnessError: the file is not published, there is no network or no space, or the hash in its name is another.
    """
    published = weights.published
    if not published:
        raise MissingWeights(weights)
    with _one_at_a_time(published.url):
        if published.repository:
            _fetch_from_hub(weights, published)
        elif not weights.is_here():
            fetch(published.url, weights.path, f"sha256:{published.hash_prefix}")


def _fetch_from_hub(weights: Weights, published: Published) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in published.files:
        try:
            hf_hub_download(published.repository, name)  # where it is here, this is quick
            return
        except Exception as error:  # nothing is known of what the client raises
            no_such_file = isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError)
            if not no_such_file or name == published.files[-1]:
                reason = next(iter(str(error).splitlines()), "") or type(error).__name__
                message = f"the weights of {weights.title} cannot be fetched: {reason}"
                raise HarnessError(message, by_hand(published)) from None


@contextlib.contextmanager
def _one_at_a_time(url: str) -> Iterator[None]:
    folder = cache_root() / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / hashlib.sha256(url.encode()).hexdigest()).open("w")
    except OSError as error:
        raise HarnessError(f"{folder} cannot be written: {error.strerror}", "set HARNESS_CACHE to another") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
