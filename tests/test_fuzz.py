"""Random and mutilated input: a right answer or a clear error, never another exception; `make soak` tries 10,000."""

import json
import math
import string
from contextlib import contextmanager, suppress
from types import UnionType
from typing import Annotated, get_args

import nbformat
import numpy as np
import pytest
from crafted import RESULT, ROWS
from faults import survived
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resnet_lib.cli.options import assignments, read_configs
from resnet_lib.config import Config, ConfigError
from resnet_lib.errors import LabError
from resnet_lib.records.record import RecordError, read_record
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.report import execution, lab
from resnet_lib.report.execution import OUTCOME, outcome_of
from resnet_lib.runs import ledger

FUZZ = "random configs, CSVs, JSONs, notebooks and npz files"
NAMES = "hostile names and parameters"
PLAIN = set(string.ascii_letters + string.digits + "-")  # what the name of a folder may consist of
pytestmark = pytest.mark.fault
one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # each case writes its files anew

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["resnet20", "plain20", "hub-resnet18", "onecycle", "bf16", "../x", "<script>", "a\nb", "\0"])
)  # fmt: skip
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


def values_of(field):
    """What a field of `Config` takes where no other field forbids it."""
    kinds = get_args(field.annotation) if isinstance(field.annotation, UnionType) else [field.annotation]
    limited = [Annotated[kind, *field.metadata] if field.metadata and kind in (int, float) else kind for kind in kinds]
    return st.one_of(map(st.from_type, limited))


def is_valid(given_fields):
    try:
        Config(**given_fields)
    except ConfigError:
        return False
    return True


VALUES = {name: values_of(field) for name, field in Config.model_fields.items()} | {
    "model": st.sampled_from(["resnet8", "resnet20", "resnet18", "resnet50", "plain20", "hub-resnet18"]),
    "milestones": st.sets(st.integers(1, 500), max_size=4).map(sorted).map(tuple),
}
valid = st.sets(st.sampled_from(list(VALUES)), max_size=8).flatmap(
    lambda names: st.fixed_dictionaries({name: VALUES[name] for name in sorted(names)})
).filter(is_valid)  # fmt: skip
others = st.dictionaries(st.sampled_from(list(VALUES)) | st.text(max_size=8), values, min_size=1, max_size=2)
spoilt = st.builds(lambda fields, changes: fields | changes, valid, others)


@contextmanager
def said_of(name):
    """What is inside may be refused, if the refusal names what it is about."""
    try:
        yield
    except LabError as error:
        if name not in str(error):
            raise


def mutilated(content: bytes):
    """Bytes that began as `content`: cut off, with some bytes changed, or something put between."""
    cut = st.integers(0, len(content)).map(lambda n: content[:n])
    place = st.integers(0, max(0, len(content) - 1))

    def change(edits):
        changed = bytearray(content)
        for where, byte in edits:
            changed[where] = byte
        return bytes(changed)

    changed = st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=4).map(change)
    inserted = st.builds(lambda n, some: content[:n] + some + content[n:], place, st.binary(max_size=12))
    return cut | changed | inserted | st.binary(max_size=200)


def assert_same_from_json(config):
    again = Config(**json.loads(config.model_dump_json()))
    assert (again, again.run_id) == (config, config.run_id)
    assert set(config.run_id) <= PLAIN


@given(valid)
def test_configs(given_fields):
    with survived(FUZZ):
        assert_same_from_json(Config(**given_fields))


@given(spoilt)
def test_configs_with_other_values(given_fields):
    with survived(FUZZ), suppress(ConfigError):
        assert_same_from_json(Config(**given_fields))


@one_folder
@given(given_fields=st.lists(valid, min_size=1, max_size=3))
def test_lists_of_configs(tmp_path, given_fields):
    with survived(FUZZ):
        (tmp_path / "configs.json").write_text(json.dumps(given_fields), encoding="utf-8-sig")  # as Windows may
        assert read_configs(tmp_path / "configs.json") == [Config(**fields) for fields in given_fields]


@one_folder
@given(
    content=st.lists(spoilt, max_size=2).map(lambda x: json.dumps(x).encode())
    | mutilated(b'[{"epochs": 2}, {"model": "plain20", "milestones": [1]}]')
)
def test_lists_of_configs_with_other_values(tmp_path, content):
    with survived(FUZZ):
        (tmp_path / "configs.json").write_bytes(content)
        with said_of("configs.json"):
            assert all(isinstance(config, Config) for config in read_configs(tmp_path / "configs.json"))


@pytest.fixture
def record(reports):
    """A finished run whose files can be damaged, and mended again."""
    run = RunFolder.of(Config(), "full")
    run.start()
    labels = np.arange(50, dtype=np.uint8) % 2
    run.finish(ROWS, RESULT, {"predicted": labels, "confidence": labels.astype(np.float16), "label": labels})
    return run.path


def read_or_refuse(path):
    with survived(FUZZ):
        assert all(isinstance(line, str) for line in ledger.problems(ledger.entry(path)))
        with said_of(path.name):
            record = read_record(path)
            assert record.correct.shape == (50,)
            assert all(math.isfinite(row["epoch"]) for row in record.history)
            assert 0 <= record.accuracy <= 1


def damaged(path, content):
    whole = path.read_bytes()
    path.write_bytes(content)
    try:
        read_or_refuse(path.parent)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["history.csv", "result.json", "config.json", "predictions.npz"])
@one_folder
@given(data=st.data())
def test_records(record, name, data):
    path = record / name
    damaged(path, data.draw(mutilated(path.read_bytes())))


@one_folder
@given(field=st.sampled_from([*RESULT, "files"]), value=values)
def test_results_with_another_value(record, field, value):
    damaged(record / "result.json", json.dumps(RESULT | {field: value}).encode())


@one_folder
@given(
    array=st.sampled_from(["predicted", "confidence", "label"]), dtype=st.sampled_from("?bBhifdFOUSMm"), data=st.data()
)
def test_predictions_of_other_types(record, array, dtype, data):
    labels = np.zeros(50, np.uint8)
    arrays = {"predicted": labels, "confidence": labels.astype(np.float16), "label": labels}
    arrays[array] = np.zeros(data.draw(st.sampled_from([(), (50,), (49,), (5, 10), (0,)])), dtype)
    path = record / "predictions.npz"
    whole = path.read_bytes()
    np.savez(path, **arrays)
    try:
        read_or_refuse(record)
    finally:
        path.write_bytes(whole)


def test_predictions_that_would_fill_the_memory_are_refused_before_they_are_unpacked(record):
    path = record / "predictions.npz"
    whole = path.read_bytes()
    np.savez_compressed(path, **dict.fromkeys(("predicted", "confidence", "label"), np.zeros(10**6, np.uint8)))
    with pytest.raises(RecordError, match="more than one number for an image"):
        _ = read_record(record).predictions
    path.write_bytes(whole)


@one_folder
@given(data=st.data())
def test_executed_notebooks(tmp_path, data):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# title")])
    notebook.metadata[OUTCOME] = {"name": "a", "title": "b", "seconds": 1.0, "error": None, "cell": None}
    if data.draw(st.booleans()):
        notebook.metadata[OUTCOME] = data.draw(values)
        content = json.dumps(notebook).encode()
    else:
        content = data.draw(mutilated(nbformat.writes(notebook).encode()))
    path = tmp_path / "a.ipynb"
    path.write_bytes(content)
    with survived(FUZZ), said_of("a.ipynb"):
        outcome_of(path)


# --- names

KNOWN = {name: get_args(Config.model_fields[name].annotation) for name in ("schedule", "split", "precision", "dataset")}
HOSTILE = ("<script>alert(1)</script>", "resnet20/../..", 'a"b', "resnet20\n", "\0")
known = st.sampled_from([*sum(KNOWN.values(), ()), "resnet20", "plain56", "hub-resnet18", *lab.NOTEBOOKS])
alike = st.builds(lambda name, at, more: name[:at] + more + name[at:], known, st.integers(0, 12), st.text(max_size=2))


@given(
    known | alike | st.text(max_size=30) | st.sampled_from(HOSTILE) | st.from_regex(r"(hub-)?resnet\d+", fullmatch=True)
)
def test_names_are_known_ones_or_refused(name):
    with survived(NAMES):
        for field, names in KNOWN.items():
            assert is_valid({field: name}) == (name in names)
        with suppress(ConfigError):
            assert set(Config(model=name).run_id) <= PLAIN
        if name not in lab.NOTEBOOKS:
            with pytest.raises(LabError, match="there is no notebook"):
                execution.source(name)
        with suppress(ConfigError):
            assignments([name, f"{name}={name}"])
