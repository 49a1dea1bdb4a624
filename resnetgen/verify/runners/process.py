"""The process that runs one target: `python -m resnetgen.verify.runners.process SCRATCH PARENT`.

Reads the request in the scratch folder and leaves a report there, whatever happens short of the
process itself being killed.
"""

import sys
import traceback
from pathlib import Path

from resnetgen.child.exhausted import is_exhausted
from resnetgen.child.framework import Unavailable, end_with
from resnetgen.verify.runners.protocol import Report, read_request, report_path, request_path, write
from resnetgen.verify.runners.recorder import NoSuchDtype, Recorder
from resnetgen.verify.runners.registry import runner


def main(scratch: Path) -> None:
    """Runs the request; an exception of the framework or of the model's file is a result."""
    request = read_request(request_path(scratch))
    recorder = Recorder(request)
    report: Report
    try:
        runner(request.target).run(request, recorder)
        report = recorder.report("ran", None)
    except Unavailable as error:
        report = recorder.report("unavailable", str(error))
    except NoSuchDtype as error:
        report = recorder.report("no_such_dtype", str(error))
    except Exception as error:
        traceback.print_exc()
        outcome = "exhausted" if is_exhausted(error) else "failed"
        report = recorder.report(outcome, recorder.describe(error))
    write(report_path(scratch), report)


if __name__ == "__main__":
    end_with(int(sys.argv[2]))
    main(Path(sys.argv[1]))
