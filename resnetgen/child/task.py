"""Has one function of ours run in a process of its own.

A framework that reads somebody's file there can crash, hang or fill its memory, and this process
goes on. The function is named by its module; what it is given and what it answers are texts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Literal

from resnetgen.child.launch import launch, scrubbed_environment

State = Literal["done", "refused", "unavailable", "exhausted", "failed"]
"""`exhausted` says nothing of any file: see `child.exhausted`."""


class Refused(Exception):
    """The task's input is not what it should be; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Task:
    """A function `main(arguments)` of a module that returns an answer; both map names to texts."""

    module: str
    arguments: Mapping[str, str]
    environment: Mapping[str, str]
    """Variables that must be set before the framework starts."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task: `reason` says why it is not done."""

    state: State
    reason: str
    answer: Mapping[str, str]


def perform(task: Task, scratch: Path, *, timeout: float, threads: int = 1) -> Outcome:
    """Runs the task, for `timeout` seconds at most; `scratch` is a folder of its own."""
    document = {"module": task.module, "arguments": dict(task.arguments)}
    task_path(scratch).write_text(json.dumps(document), encoding="utf-8")
    environment = scrubbed_environment(scratch, device="cpu", threads=threads)
    ended = launch(
        "resnetgen.child.process",
        scratch,
        environment=environment | dict(task.environment),
        timeout=timeout,
        stop=Event(),
    )
    if ended.code is None:
        return Outcome("failed", f"gave no result within {timeout:g} s", {})
    answer = answer_path(scratch)
    if ended.code != 0 or not answer.exists():
        return Outcome("failed", ended.describe(), {})
    return Outcome(**json.loads(answer.read_bytes()))


def task_path(scratch: Path) -> Path:
    return scratch / "task.json"


def answer_path(scratch: Path) -> Path:
    return scratch / "answer.json"
