"""Renew the checked outputs of the source notebooks after an intended change: python tests/refresh_checked_outputs.py

Executes them at the smoke profile in an empty folder, and keeps the outputs of the cells that nbval compares.
"""

import os
import tempfile
from pathlib import Path

import nbformat

from resnet_lib.report import execution, lab

CHECKED = "nbval-check-output"  # nbval's tag


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"RESNET_LAB_REPORTS": folder, "RESNET_LAB_OFFLINE": "1"}
        failed = [outcome for outcome in lab.report("smoke", done=print) if outcome.error]
        if failed:
            raise SystemExit(f"not renewed: {', '.join(outcome.name for outcome in failed)} failed")
        for name in lab.NOTEBOOKS:
            executed = nbformat.read(Path(folder) / "smoke" / f"{name}.ipynb", as_version=4)
            outputs = {cell.source: cell.outputs for cell in executed.cells if cell.cell_type == "code"}
            notebook = nbformat.read(execution.source(name), as_version=4)
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    is_checked = CHECKED in cell.metadata.get("tags", [])
                    cell.outputs = outputs[cell.source] if is_checked else []
                    cell.execution_count = 1 if is_checked else None  # nbval refuses outputs of an unrun cell
                    for output in cell.outputs:
                        if output.output_type == "execute_result":
                            output.execution_count = 1
            nbformat.write(notebook, execution.source(name))


if __name__ == "__main__":
    main()
