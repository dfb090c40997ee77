import hashlib
import io
import pickle
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from harness.data import download as downloading
from harness.data.datasets import cifar
from harness.data.datasets.cifar import cifar10, cifar100
from harness.errors import HarnessError


def md5(content):
    return "md5:" + hashlib.md5(content).hexdigest()


def batch(values, labels_key):
    rows = np.array(values, np.uint8)[:, None].repeat(3072, axis=1)
    rows[:, 1024:2048] += 1  # green
    rows[:, 1] = 99  # red of the pixel right of the first
    return pickle.dumps({"data": rows, labels_key: [value % 10 for value in values]}, protocol=2)


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def make(edition, root, contents=None):
    """Writes folder and archive; returns the edition with the checksums of what was written."""
    contents = contents or {
        **{name: batch([index, index + 1], edition.labels_key) for index, name in enumerate(edition.train)},
        **{name: batch([7], edition.labels_key) for name in edition.test},
        **{name: pickle.dumps({edition.names_key: list("abcdefghij")}) for name in edition.meta},
    }
    (root / edition.folder).mkdir(parents=True)
    with tarfile.open(root / edition.archive, "w:gz") as tar:
        tar.addfile(directory(edition.folder))
        for name, content in contents.items():
            (root / edition.folder / name).write_bytes(content)
            member = tarfile.TarInfo(f"{edition.folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    sums = {name: md5(content) for name, content in contents.items()}
    return replace(
        edition,
        checksum=md5((root / edition.archive).read_bytes()),
        train={name: sums[name] for name in edition.train},
        test={name: sums[name] for name in edition.test},
        meta={name: sums[name] for name in edition.meta},
    )


def directory(name):
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE
    return member


def remove_folder(root, edition):
    for path in (root / edition.folder).iterdir():
        path.unlink()
    (root / edition.folder).rmdir()


@pytest.fixture(params=["CIFAR10", "CIFAR100"])
def made(request, tmp_path, monkeypatch):
    edition = make(getattr(cifar, request.param), tmp_path)
    monkeypatch.setattr(cifar, request.param, edition)
    return edition, {"CIFAR10": cifar10, "CIFAR100": cifar100}[request.param], tmp_path


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_both_forms_are_read(made, form):
    edition, plugin, root = made
    if form == "folder":
        (root / edition.archive).unlink()
    else:
        remove_folder(root, edition)
    data = plugin(root=str(root)).load()
    train, test = data.train, data.test
    assert train.images.shape == (2 * len(edition.train), 32, 32, 3) and train.images.dtype == np.uint8
    assert train.images[:2, 0, 0].tolist() == [[0, 1, 0], [1, 2, 1]]
    assert train.images[0, 0, 1].tolist() == [99, 1, 0] and train.images[0, 1, 0].tolist() == [0, 1, 0]
    assert train.labels[:2].tolist() == [0, 1] and train.labels.dtype == np.int64
    assert test.labels.tolist() == [7] and test.images.flags.c_contiguous
    assert data.class_names == tuple("abcdefghij")


def test_an_archive_is_read_without_writing(made):
    edition, plugin, root = made
    remove_folder(root, edition)
    plugin(root=str(root)).load()
    assert [path.name for path in root.iterdir()] == [edition.archive]


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_nothing_is_unpickled_before_it_is_verified(made, form):
    edition, plugin, root = made
    canary = root / "canary"
    evil = pickle.dumps(Canary(canary))
    if form == "folder":
        (root / edition.folder / next(iter(edition.test))).write_bytes(evil)
    else:
        remove_folder(root, edition)
        (root / edition.archive).unlink()
        make(edition, root, dict.fromkeys([*edition.train, *edition.test, *edition.meta], evil))
        remove_folder(root, edition)
    with pytest.raises(HarnessError, match="is damaged or another version"):
        plugin(root=str(root)).load()
    assert not canary.exists()
    pickle.loads(evil).close()
    assert canary.exists()  # the canary sings


def test_an_archive_with_a_wrong_checksum_is_not_opened(made, monkeypatch):
    edition, plugin, root = made
    remove_folder(root, edition)
    with (root / edition.archive).open("ab") as file:
        file.write(b"more")
    monkeypatch.setattr(tarfile, "open", lambda *_: pytest.fail("opened"))
    with pytest.raises(HarnessError, match=f"{edition.archive} is damaged or another version"):
        plugin(root=str(root)).load()


def test_even_a_verified_pickle_names_nothing_but_arrays(tmp_path):
    with pytest.raises(pickle.UnpicklingError, match=r"unexpected .*open"):
        cifar._unpickle(pickle.dumps(Canary(tmp_path / "canary")))
    assert not (tmp_path / "canary").exists()


def test_a_pickle_of_python_2_is_read_without_a_warning():
    # As in the original files: strings as bytes, numpy.core, and a dtype whose flags are 0 and 1.
    content = (
        b"\x80\x02}q\x00U\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x01K\x02\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89U\x02\xfa\x07tbs."
    )
    found = cifar._unpickle(content)
    assert found["data"].tolist() == [[250, 7]] and found["data"].dtype == np.uint8


def test_missing_data_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(HarnessError, match=f"{tmp_path} holds neither cifar-10-python.tar.gz nor") as caught:
        cifar10(root=str(tmp_path)).load()
    assert "--download" in caught.value.hint and cifar.URL in caught.value.hint


def test_a_missing_batch_is_named(made):
    edition, plugin, root = made
    name = next(iter(edition.test))
    (root / edition.folder / name).unlink()
    with pytest.raises(HarnessError, match=f"{edition.folder}/{name} cannot be read"):
        plugin(root=str(root)).load()


def test_the_default_root_comes_from_the_environment(made, monkeypatch):
    _, plugin, root = made
    monkeypatch.setenv("HARNESS_DATA", str(root))
    assert plugin().load().class_names[0] == "a"


def test_download_fetches_the_archive_once_and_load_never_does(tmp_path, monkeypatch):
    fetched = []
    monkeypatch.setattr(downloading, "fetch", lambda *arguments: fetched.append(arguments))
    assert cifar10(root=str(tmp_path)).download is None
    source = cifar10(root=str(tmp_path), download=True)
    with pytest.raises(HarnessError):
        source.load()
    assert fetched == [] and source.download is not None
    source.download()
    target = tmp_path / "cifar-10-python.tar.gz"
    assert fetched == [(cifar.URL + target.name, target, cifar.CIFAR10.checksum)]
    (tmp_path / cifar.CIFAR10.folder).mkdir()
    source.download()
    assert len(fetched) == 1


def test_the_fingerprint_needs_no_data_and_tells_the_two_apart(tmp_path):
    first, second = cifar10(root=str(tmp_path)).fingerprint(), cifar100(root=str(tmp_path)).fingerprint()
    assert first != second and first == cifar10().fingerprint()


def test_the_checksums_are_those_torchvision_uses():
    torchvision = pytest.importorskip("torchvision")
    for edition, known in (
        (cifar.CIFAR10, torchvision.datasets.CIFAR10),
        (cifar.CIFAR100, torchvision.datasets.CIFAR100),
    ):
        assert edition.train == {name: f"md5:{digest}" for name, digest in known.train_list}
        assert edition.test == {name: f"md5:{digest}" for name, digest in known.test_list}
        assert edition.meta == {known.meta["filename"]: f"md5:{known.meta['md5']}"}
        assert cifar.URL + edition.archive == known.url and edition.folder == known.base_folder
        assert edition.names_key == known.meta["key"]
