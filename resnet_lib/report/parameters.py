"""The parameters that papermill was given for a notebook, against those that it has."""

from __future__ import annotations

import ast
from typing import Any

from IPython import get_ipython

from resnet_lib.config import ConfigError

INJECTED = "# Parameters"  # first line of the cell in which papermill puts the values it was given


def refuse_unknown() -> None:
    """papermill only warns of a parameter that the notebook lacks; here it is an error, before anything is trained."""
    shell = get_ipython()
    cells = shell.user_ns.get("In", []) if shell else []
    declared = {name for cell in cells for name in _declared(cell)}
    for cell in cells:
        if cell.partition("\n")[0].strip() == INJECTED:
            for name in _assigned(cell):
                if name not in declared:
                    raise ConfigError(f"unknown parameter '{name}': this notebook has {', '.join(sorted(declared))}")


def _declared(cell: str) -> list[str]:
    """Names that a cell declares with a type: `epochs: int = 10`."""
    targets = [node.target for node in _statements(cell) if isinstance(node, ast.AnnAssign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _assigned(cell: str) -> list[str]:
    targets = [target for node in _statements(cell) if isinstance(node, ast.Assign) for target in node.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _statements(cell: str) -> list[Any]:
    try:
        return ast.parse(cell).body
    except SyntaxError:  # a cell of magics or of a person's experiments
        return []
