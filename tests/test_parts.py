"""CIFAR-10 in parts for a machine without network: packed, joined, and told of where something is wrong."""

from __future__ import annotations

import re
import shlex
import shutil
import sys

import pytest
from tiny_cifar import FILES, NAMES, TINY_CIFAR, filled, write
from typer.testing import CliRunner

from resnet_lib.__main__ import app, main
from resnet_lib.cli import options
from resnet_lib.cli.options import REFUSED
from resnet_lib.data import parts, sources
from resnet_lib.data.sources import DataError, fetch

pytestmark = pytest.mark.usefixtures("data_cache")


@pytest.mark.parametrize("max_bytes", [10_000, 1 << 20])
def test_packed_and_unpacked_is_the_same(data_cache, tmp_path, monkeypatch, max_bytes):
    source = write(tmp_path / "mine", FILES)
    written = parts.pack(source, tmp_path / "parts", max_bytes, TINY_CIFAR)
    assert max(path.stat().st_size for path in written) <= max_bytes
    assert sum(path.stat().st_size for path in written) == sum(map(len, FILES.values()))
    (tmp_path / "parts" / f"{written[0].name}.4242.tmp").write_bytes(b"")  # what a killed packing leaves
    parts.pack(source, tmp_path / "parts", max_bytes // 2, TINY_CIFAR)  # again, with which the first must not mix
    fetch(tmp_path / "parts", TINY_CIFAR)
    assert filled(data_cache)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
def test_parts_that_are_missing_damaged_or_mixed_are_named(data_cache, tmp_path):
    source = write(tmp_path / "mine", FILES)
    written = parts.pack(source, tmp_path / "parts", 10_000, TINY_CIFAR)
    whole = written[1].read_bytes()
    written[1].unlink()
    with pytest.raises(DataError, match=f"lacks {written[1].name}"):
        fetch(tmp_path / "parts", TINY_CIFAR)
    written[1].write_bytes(bytes(len(whole)))
    with pytest.raises(DataError, match="is not the published file"):
        fetch(tmp_path / "parts", TINY_CIFAR)
    written[1].write_bytes(whole)
    (tmp_path / "parts" / f"{NAMES[0]}.1of9").write_bytes(b"")
    with pytest.raises(DataError, match="from different packings"):
        fetch(tmp_path / "parts", TINY_CIFAR)
    write(tmp_path / "parts", FILES)  # a whole copy beside them
    fetch(tmp_path / "parts", TINY_CIFAR)
    assert filled(data_cache)
    for path in [*data_cache.glob("*.bin"), *((tmp_path / "parts" / name) for name in NAMES)]:
        path.unlink()
    for path in (tmp_path / "parts").glob("*.1of*"):  # a packing that was killed, and nothing else
        path.rename(path.with_name(f"{path.name}.4242.tmp"))
    for path in (tmp_path / "parts").glob("*.bin.*of*[0-9]"):
        path.unlink()
    with pytest.raises(DataError, match="holds no CIFAR-10"):
        fetch(tmp_path / "parts", TINY_CIFAR)
    assert not any((data_cache / name).exists() for name in NAMES)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
def test_parts_of_an_absurd_size_are_told_before_they_are_read(tmp_path):
    folder = write(tmp_path / "mine", {f"{name}.1of1": content for name, content in FILES.items()})
    write(folder, {f"{NAMES[-1]}.{number}of2": bytes(1 << 20) for number in (1, 2)})
    (folder / f"{NAMES[-1]}.1of1").unlink()
    with pytest.raises(DataError, match=f"the parts of {NAMES[-1]} are too large"):
        fetch(folder, TINY_CIFAR)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
def test_a_file_of_which_there_is_no_part_is_named(tmp_path):
    files = {f"{name}.1of1": content for name, content in FILES.items() if name != NAMES[2]}
    with pytest.raises(DataError, match=f"has no part of {NAMES[2]}"):
        fetch(write(tmp_path / "mine", files), TINY_CIFAR)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
def test_a_part_that_cannot_be_read_or_tells_of_billions_is_told(data_cache, tmp_path):
    folder = write(tmp_path / "mine", {f"{name}.1of1": content for name, content in FILES.items()})
    first, *_ = FILES
    part = folder / f"{first}.1of1"
    part.unlink()
    part.mkdir()  # a folder stands for it, for tests may run as one who may read everything
    with pytest.raises(DataError, match=f"a part of {first} cannot be read"):
        fetch(folder, TINY_CIFAR)
    part.rename(folder / f"{first}.1of99999999999")
    with pytest.raises(DataError, match=rf"lacks {first}.2of99999999999, (.*, )?{first}.11of99999999999, …\n"):
        fetch(folder, TINY_CIFAR)


def test_what_pack_prints_unpacks_the_images(data_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_LAB_DATA", "")  # put back afterwards
    monkeypatch.setattr(options.out, "_width", 300)  # no line is broken
    monkeypatch.setattr(sources, "fetch", lambda: fetch(manifest=TINY_CIFAR))
    monkeypatch.setattr("resnet_lib.data.formats.CIFAR10", TINY_CIFAR)
    write(data_cache, FILES)
    packed = CliRunner().invoke(app, ["data", "pack", str(tmp_path / "my parts"), "--max-mib", "0.1"])
    assert packed.exit_code == 0, packed.output
    shutil.rmtree(data_cache)
    program, *arguments = shlex.split(packed.output.splitlines()[-1].partition("there: ")[2])
    assert program == "resnet-lab"
    assert "all SHA-256 as published" in CliRunner().invoke(app, arguments).output
    assert filled(data_cache)


def test_parts_of_something_else_are_not_taken_for_these(data_cache, tmp_path):
    write(tmp_path / "mine", FILES)
    (tmp_path / "mine" / "firmware.bin.1of2").write_bytes(b"")
    fetch(tmp_path / "mine", TINY_CIFAR)
    assert filled(data_cache)


@pytest.mark.parametrize("size", ["inf", "nan", "1e308"])
def test_parts_of_no_finite_size_are_refused(monkeypatch, capsys, size, tmp_path):
    monkeypatch.setattr(sys, "argv", ["resnet-lab", "data", "pack", str(tmp_path / "parts"), "--max-mib", size])
    with pytest.raises(SystemExit) as ending:
        main()
    assert ending.value.code == REFUSED
    assert re.search("max_mib = .+ is not valid|Invalid value", capsys.readouterr().err)  # the second is typer's
    assert not (tmp_path / "parts").exists()
