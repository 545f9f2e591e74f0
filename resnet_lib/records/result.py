"""What `result.json` must hold for figures, tables and claims to rest on it."""

from __future__ import annotations

from typing import Annotated, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

Share = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
# Shown on pages, and anybody's: no HTML, and of Markdown no more than an address.
Words = Annotated[str, Field(pattern=r"^[^<>\[\]|`\n\r]*$", max_length=200)]


class Environment(TypedDict):
    """Of `result.json`: what else it says is kept and not checked."""

    __pydantic_config__ = ConfigDict(extra="allow")
    device_name: Words
    threads: int
    torch: Words
    instructions: NotRequired[Words]


class Session(TypedDict):
    """Of `result.json`: one process that trained the run, on one device."""

    __pydantic_config__ = ConfigDict(extra="allow")
    from_step: int
    torch: NotRequired[Words]
    device_name: NotRequired[Words]  # records made before a run could go on elsewhere name none


class Result(TypedDict):
    """What figures, tables and claims read of `result.json`; more may stand there."""

    __pydantic_config__ = ConfigDict(extra="allow")
    fingerprint: str
    images: Annotated[int, Field(gt=0)]
    accuracy: Share
    loss: Finite
    ece: Share
    classes: Annotated[list[Words], Field(max_length=256)]
    per_class_accuracy: list[Share]
    confusion: list[list[int]]
    model_source: Words
    data_sha256: Words
    training_seconds: Finite
    commit: Words
    environment: Environment
    sessions: NotRequired[Annotated[list[Session], Field(min_length=1)]]  # the first records have none
    files: NotRequired[dict[str, str]]  # records made before there were any have none


RESULT = TypeAdapter(Result)
