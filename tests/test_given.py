"""CIFAR-10 as a user gives it: every version is read, and nothing wrong or hostile is taken for it."""

from __future__ import annotations

import gzip
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from tiny_cifar import FILES, NAMES, RECORDS, TINY_CIFAR, binary_archive, filled, left_over, records_of, tar_gz, write

from resnet_lib.config import Config
from resnet_lib.data import cifar10, sources
from resnet_lib.data.formats import PIXELS, RECORD_BYTES
from resnet_lib.data.sources import DataError, fetch

pytestmark = pytest.mark.usefixtures("data_cache")


def pickled(name: str, protocol: int = 2) -> bytes:
    labels, images = records_of(name)
    batch = {"batch_label": name, "labels": labels, "data": images.copy(), "filenames": ["a.png"] * RECORDS}
    return pickle.dumps(batch, protocol=protocol)


def pickled_files() -> dict[str, bytes]:
    return {name.removesuffix(".bin"): pickled(name) for name in NAMES} | {"batches.meta": b"not read"}


def exchanged_labels(name: str) -> bytes:
    """A file in which the first two images have each other's label, and nothing else is wrong."""
    content = bytearray(FILES[name])
    content[0], content[RECORD_BYTES] = content[RECORD_BYTES], content[0]
    return bytes(content)


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-bin"])
def test_given_binary_folder(data_cache, tmp_path, inside):
    write(tmp_path / "mine" / inside, FILES)
    assert fetch(tmp_path / "mine", TINY_CIFAR) == data_cache
    assert filled(data_cache)
    assert sources.origin(data_cache) == "a local copy given by the user"
    assert not left_over(data_cache)


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-py"])
def test_given_pickled_folder_by_environment(data_cache, tmp_path, monkeypatch, inside):
    write(tmp_path / "mine" / inside, pickled_files())
    monkeypatch.setenv("RESNET_LAB_DATA", str(tmp_path / "mine"))
    fetch(manifest=TINY_CIFAR)
    assert filled(data_cache)


@pytest.mark.parametrize("name", ["cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"])
@pytest.mark.parametrize("as_folder", [True, False])
def test_given_archive(data_cache, tmp_path, name, as_folder):
    python = tar_gz({f"cifar-10-batches-py/{n}": c for n, c in pickled_files().items()})
    folder = write(tmp_path / "mine", {name: binary_archive() if "binary" in name else python})
    fetch(folder if as_folder else folder / name, TINY_CIFAR)
    assert filled(data_cache)


def test_python_2_pickle(data_cache, tmp_path):
    """As Python 2 wrote them: its byte strings, numpy's old module names, the array in Fortran order."""
    _, images = records_of(NAMES[0])
    raw = images.tobytes(order="F")

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()  # SHORT_BINSTRING

    dtype = (
        b"cnumpy\ndtype\n("
        + text("u1")
        + b"K\x00K\x01tR(K\x03"
        + text("|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text("b") + b"tR"
    shape = b"(K" + bytes([RECORDS]) + b"M" + (3 * PIXELS).to_bytes(2, "little") + b"t"
    state = b"(K\x01" + shape + dtype + b"\x88" + b"T" + len(raw).to_bytes(4, "little") + raw + b"tb"
    labels = b"](" + b"".join(bytes([75, label]) for label in records_of(NAMES[0])[0]) + b"e"
    batch = b"\x80\x02}(" + text("data") + array + state + text("labels") + labels + b"u."
    reference = pickle.loads(batch, encoding="latin1")  # the bytes are what numpy itself understands
    np.testing.assert_array_equal(reference["data"], images)
    fetch(write(tmp_path / "mine", pickled_files() | {"data_batch_1": batch}), TINY_CIFAR)
    assert filled(data_cache)


def test_given_place_that_fails_is_an_error_even_with_a_full_cache(data_cache, tmp_path):
    write(data_cache, FILES)
    for place, reason in [
        (tmp_path / "nowhere", "does not exist"),
        (write(tmp_path / "empty", {}), "holds no CIFAR-10"),
    ]:
        with pytest.raises(DataError, match=reason) as failure:
            fetch(place, TINY_CIFAR)
        assert str(place) in str(failure.value)
        assert "1. " in str(failure.value)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data_batch_2.bin": b"wrong"}, "data_batch_2.bin is not the published file"),
        ({"data_batch_2.bin": None}, "has no data_batch_2.bin"),
        ({"test_batch.bin": bytes(2 << 20)}, "test_batch.bin is too large"),
        ({"test_batch.bin": exchanged_labels("test_batch.bin")}, "test_batch.bin is not the published file"),
        ({"data_batch_1.bin": FILES["data_batch_2.bin"]}, "data_batch_1.bin is not the published file"),
        ({"data_batch_1.bin": FILES["data_batch_1.bin"][:-1]}, "data_batch_1.bin is not the published file"),
    ],
    ids=lambda value: value if isinstance(value, str) else ", ".join(value),
)
def test_given_folder_with_a_wrong_file(data_cache, tmp_path, change, reason):
    files = {name: content for name, content in (FILES | change).items() if content is not None}
    with pytest.raises(DataError, match=reason):
        fetch(write(tmp_path / "mine", files), TINY_CIFAR)
    fetch(write(tmp_path / "mine", FILES), TINY_CIFAR)
    assert filled(data_cache)


class Payload:
    """Would create a file when unpickled by the ordinary reader."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.fault("malicious pickle as checkpoint, weights or data")
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_hostile_pickle_is_refused_without_running(tmp_path, protocol):
    proof = tmp_path / "it ran"
    hostile = pickle.dumps({"data": Payload(proof), "labels": []}, protocol=protocol)
    pickle.loads(hostile)
    assert proof.exists()  # the payload works
    proof.unlink()
    with pytest.raises(DataError, match="data_batch_1 is not a batch"):
        fetch(write(tmp_path / "mine", pickled_files() | {"data_batch_1": hostile}), TINY_CIFAR)
    assert not proof.exists()


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        pickle.dumps([1, 2]),
        pickle.dumps({"data": np.zeros((2, 2), np.uint8), "labels": [0, 0]}, protocol=2),
        pickle.dumps({"data": np.zeros((RECORDS, 3072), np.int8), "labels": [0] * RECORDS}, protocol=2),
        pickle.dumps({"data": np.zeros((RECORDS, 3072), np.uint8), "labels": ["0"] * RECORDS}, protocol=2),
        pickled("data_batch_1.bin")[:-100],
    ],
)
def test_pickle_that_is_no_batch(tmp_path, content):
    with pytest.raises(DataError, match="data_batch_1 is not a batch"):
        fetch(write(tmp_path / "mine", pickled_files() | {"data_batch_1": content}), TINY_CIFAR)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
@pytest.mark.parametrize("name", ["/data_batch_1.bin", "../data_batch_1.bin", "a/../../data_batch_1.bin"])
def test_archive_with_a_path_that_leads_elsewhere(tmp_path, name):
    archive = write(tmp_path, {"a.tar.gz": tar_gz({name: FILES["data_batch_1.bin"]})}) / "a.tar.gz"
    with pytest.raises(DataError, match="no plain file"):
        fetch(archive, TINY_CIFAR)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_archive_with_a_link_for_a_file(tmp_path, kind):
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("data_batch_1.bin")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(DataError, match="no plain file"):
        fetch(path, TINY_CIFAR)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"size": 1 << 60}, "absurd size"), ({"pax_headers": {"GNU.sparse.map": "x"}}, "not a whole tar.gz archive")],
    ids=["endless", "nonsense"],
)
def test_archive_whose_header_lies(tmp_path, fields, reason):
    member = tarfile.TarInfo("junk")
    for name, value in fields.items():
        setattr(member, name, value)
    with pytest.raises(DataError, match=reason):
        fetch(write(tmp_path, {"a.tar.gz": gzip.compress(member.tobuf())}) / "a.tar.gz", TINY_CIFAR)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
def test_archive_with_a_file_of_an_absurd_size(tmp_path):
    """Of one that is read; all of them together are not too many bytes."""
    archive = write(tmp_path, {"a.tar.gz": tar_gz(FILES | {"test_batch.bin": bytes(2 << 20)})}) / "a.tar.gz"
    with pytest.raises(DataError, match=r"'test_batch\.bin' is no plain file of a sensible size"):
        fetch(archive, TINY_CIFAR)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
def test_archive_that_unpacks_to_an_absurd_size(tmp_path):
    archive = write(tmp_path, {"a.tar.gz": tar_gz({"bomb": bytes(16 << 20)} | FILES)}) / "a.tar.gz"
    assert archive.stat().st_size < 1 << 20
    with pytest.raises(DataError, match="absurd size"):
        fetch(archive, TINY_CIFAR)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"no tar" * 1000), binary_archive()[:-20_000], binary_archive()[:200]],
    ids=["empty", "no gzip", "no tar", "half", "almost nothing"],
)
def test_damaged_archive(tmp_path, content):
    with pytest.raises(DataError, match=r"not a whole tar.gz archive|has no "):
        fetch(write(tmp_path, {"a.tar.gz": content}) / "a.tar.gz", TINY_CIFAR)


def test_a_copy_that_is_given_beside_a_whole_cache_is_read_and_nothing_written(data_cache, tmp_path, monkeypatch):
    """The cache may be one that all share and few may write to."""
    write(data_cache, FILES)
    monkeypatch.setattr(sources, "_scratch", None)  # to call it would fail
    assert fetch(write(tmp_path / "mine", FILES), TINY_CIFAR) == data_cache


def test_what_a_user_gives_is_read_once_in_a_process(tmp_path, monkeypatch, data_cache):
    monkeypatch.setenv("RESNET_LAB_DATA", str(write(tmp_path / "mine", FILES)))
    cifar10.load(Config(), TINY_CIFAR)
    shutil.rmtree(tmp_path / "mine")
    assert len(cifar10.load(Config(), TINY_CIFAR).test_images) == RECORDS
    (data_cache / "test_batch.bin").write_bytes(b"")
    with pytest.raises(DataError, match="does not exist"):
        cifar10.load(Config(), TINY_CIFAR)
