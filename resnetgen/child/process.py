"""The process that runs one task: `python -m resnetgen.child.process SCRATCH PARENT`."""

import importlib
import json
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from resnetgen.child.exhausted import HERE, is_exhausted
from resnetgen.child.framework import Unavailable, end_with
from resnetgen.child.task import Outcome, Refused, answer_path, task_path


def main(scratch: Path) -> None:
    """Runs the task; an exception of the framework, or on the user's file, is an answer."""
    task = json.loads(task_path(scratch).read_bytes())
    run: Callable[[Mapping[str, str]], dict[str, str]]
    run = importlib.import_module(task["module"]).main
    try:
        outcome = Outcome("done", "", run(task["arguments"]))
    except Refused as error:
        outcome = Outcome("refused", str(error), {})
    except Unavailable as error:
        outcome = Outcome("unavailable", str(error), {})
    except Exception as error:
        traceback.print_exc()
        said = f"{type(error).__name__}: {error}"
        outcome = Outcome("failed", said, {})
        if is_exhausted(error):
            outcome = Outcome("exhausted", f"{HERE}: {said}", {})
    answer_path(scratch).write_text(json.dumps(asdict(outcome)), encoding="utf-8")


if __name__ == "__main__":
    end_with(int(sys.argv[2]))
    main(Path(sys.argv[1]))
