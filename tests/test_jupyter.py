"""The lab in Jupyter: who may connect, what an interrupt leaves, cells run twice or out of order."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import papermill
import psutil
import pytest
from faults import DISTURBED
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

from resnet_lib.records import checkpoint
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.report import execution, pages

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "03_cifar_architecture.ipynb"


# --- JupyterLab


def answering(runtime):
    """What the server in this folder says of itself; None before it listens, which is after it has said it."""
    try:
        (said,) = [json.loads(path.read_text()) for path in runtime.glob("jpserver-*.json")]
        socket.create_connection((said["hostname"], said["port"]), timeout=5).close()
    except (ValueError, ConnectionError):  # no file, half a file, or nobody there yet
        return None
    return said


@contextmanager
def jupyter_lab(tmp_path, *arguments):
    """`make lab` on any free port, without anybody's Jupyter configuration; process, address and token.

    In the environment that runs the tests: without the target `env`, which would install another where there is none.
    """
    environment = os.environ | {
        "VIRTUAL_ENV": sys.prefix,
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "JUPYTER_DATA_DIR": str(tmp_path / "data"),
    }
    flags = "LAB_FLAGS=--no-browser --port=0"
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            ["make", "-o", "env", "lab", flags, *arguments],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 90
        while not (found := answering(tmp_path / "runtime")):
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
        yield server, f"http://localhost:{found['port']}", found["token"]
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answer(url, token="", data=None):
    """HTTP status of a request; `data` makes it a POST."""
    request = urllib.request.Request(url, data, {"Authorization": f"token {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def listening(server):
    """Address and port of all that the server and its kernels listen on."""
    processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    found = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # some that starting takes are gone again
            found |= {c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    return found


@pytest.mark.fault("JupyterLab beyond loopback, or without its token")
@pytest.mark.skipif(os.name != "posix", reason="make")
def test_make_lab_listens_on_this_machine_alone_and_wants_its_token(tmp_path):
    with jupyter_lab(tmp_path) as (server, url, token):
        assert len(token) > 30
        for wrong in ("", "0" * len(token)):
            assert answer(f"{url}/api/contents", wrong) == 403
            assert answer(f"{url}/api/kernels", wrong, b"{}") == 403
        assert answer(f"{url}/api/contents", token) == 200
        alone = listening(server)
        assert alone
        assert answer(f"{url}/api/kernels", token, b"{}") == 201
        deadline = time.monotonic() + 60
        while len(listening(server) - alone) < 5:  # a kernel listens too, once it has started
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert {address.ip for address in listening(server)} <= {"127.0.0.1", "::1"}
        assert "warning" not in (tmp_path / "log").read_text().partition("http")[0]


@pytest.mark.fault("JupyterLab beyond loopback, or without its token")
@pytest.mark.skipif(os.name != "posix", reason="make")
def test_another_address_has_to_be_asked_for_and_is_warned_of(tmp_path):
    try:
        socket.create_server(("127.0.0.2", 0)).close()
    except OSError as error:  # macOS has 127.0.0.1 alone
        pytest.skip(f"127.0.0.2 is no address here: {error}")
    with jupyter_lab(tmp_path, "HOST=127.0.0.2") as (_, _, token):
        assert "warning: JupyterLab will listen on 127.0.0.2" in (tmp_path / "log").read_text()
        assert len(token) > 30


# --- kernels


LONG = """
from resnet_lib.config import Config
from resnet_lib.machine.device import Choice
from resnet_lib.runs import experiment
record = experiment.run(Config.model_validate_json('''{}'''), choice=Choice("cpu", 1, True))
"""


@pytest.mark.fault("SIGINT, SIGTERM or an interrupted kernel")
def test_an_interrupted_kernel_has_saved_its_run_and_goes_on(reports):
    config = DISTURBED.replace(epochs=1_000, milestones=())
    manager, client = start_new_kernel()
    try:
        # Else the kernel may abort what it is asked for just after the error.
        asked = client.execute(LONG.format(config.model_dump_json()), stop_on_error=False)
        while "1000 epochs" not in client.get_iopub_msg(timeout=60)["content"].get("text", ""):
            pass
        time.sleep(0.5)
        manager.interrupt_kernel()
        reply = reply_to(asked, client)
        assert reply["ename"] == "Stopped"
        assert "stopped by SIGINT at step" in reply["evalue"]
        assert checkpoint.load(RunFolder.of(config, "full").checkpoint)["step"] > 0
        assert reply_to(client.execute("1 + 1"), client)["status"] == "ok"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def reply_to(asked, client):
    """What the kernel answered to one request; a slow one has late answers to whether it is ready, too."""
    while (reply := client.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != asked:
        pass
    return reply["content"]


def files_of_runs(reports):
    return {path: path.read_bytes() for path in reports.glob("smoke/runs/*/*") if path.suffix != ".safetensors"}


@pytest.mark.fault("notebook run twice, or its cells out of order")
def test_a_notebook_run_again_or_out_of_order_trains_nothing_twice(reports, tmp_path):
    given = {"profile": "smoke"}
    papermill.execute_notebook(NOTEBOOK, tmp_path / "once.ipynb", given, cwd=NOTEBOOK.parent, progress_bar=False)
    once = files_of_runs(reports)
    assert sum(path.name == "result.json" for path in once) == 2

    notebook = nbformat.read(tmp_path / "once.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    runs = 1 + next(place for place, cell in enumerate(code) if "page.run(" in cell.source)
    start, rest = code[:runs], code[runs:]
    notebook.cells = [*start, *reversed(rest), *start, start[-1], *rest]
    for cell in notebook.cells:
        cell.id = nbformat.v4.new_code_cell().id
    NotebookClient(notebook, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    assert files_of_runs(reports) == once


class Tags(HTMLParser):
    """Names of all attributes, and all that a browser would run."""

    def __init__(self):
        super().__init__()
        self.attributes, self.scripts, self.inside = set(), [], False

    def handle_starttag(self, tag, attrs):
        self.attributes |= {name for name, _ in attrs}
        self.inside = tag == "script"

    def handle_data(self, data):
        if self.inside:
            self.scripts.append(data)

    def handle_endtag(self, tag):
        self.inside = False


def test_sockets_have_a_short_path_also_where_temporary_files_have_a_long_one(monkeypatch):
    for usual, found in (("/scratch/job", None), (f"/scratch/{'job' * 30}", "/tmp")):
        monkeypatch.setattr("tempfile.tempdir", usual)
        assert execution.near_root() == found


@pytest.mark.fault("hostile names and parameters")
def test_a_hostile_parameter_is_refused_and_shown_as_text(reports):
    hostile = """../../smoke\n<script>alert(1)</script>"><img onload='alert(1)' src="x"""
    folder = reports / "smoke"
    folder.mkdir(parents=True)
    outcome = execution.execute(NOTEBOOK, {"profile": hostile}, folder / NOTEBOOK.name, lambda line: None)
    assert "ConfigError: profile = " in outcome.error
    rendered = [pages.render(folder / NOTEBOOK.name, outcome.title, "smoke"), pages.write_index("smoke")]
    for page in rendered:
        seen = Tags()
        seen.feed(page.read_text())
        assert not [name for name in seen.attributes if name.startswith("on")]
        assert "alert(" not in "".join(seen.scripts)
    assert not list(reports.rglob("result.json"))
