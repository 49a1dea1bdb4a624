"""Verifies built networks: one after the other here, or several at a time in processes.

A process for each, because only a main thread hears of an interrupt and can end its frameworks.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Lock, Thread
from typing import TYPE_CHECKING

from resnetgen.child.launch import how_it_ended
from resnetgen.cli.printing import say_waiting
from resnetgen.cli.progress import progress
from resnetgen.diagnostics import DiagnosticError, Span
from resnetgen.pipeline import Built, prove

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from resnetgen.verify.check import Options, Progress
    from resnetgen.verify.result import Verification


def proofs(
    built: Sequence[Built], options: "Options", *, at_once: int
) -> Iterator[tuple[Built, "Verification"]]:
    """Each network with its verification, in order.

    One at a time comes as soon as it is there, and several at a time once all are, or one broke
    off: then those before it.
    """
    if min(at_once, len(built)) == 1:
        for item in built:
            with progress() as reporter:
                verification = _prove(item, options, reporter(item.network.name))
            yield item, verification
        return
    found: list[Verification] = []
    try:
        with progress() as reporter:
            found.extend(_in_processes(built, options, at_once, reporter))
    except (DiagnosticError, MemoryError, OSError):
        yield from zip(built, found, strict=False)
        raise
    yield from zip(built, found, strict=True)


def _prove(item: Built, options: "Options", report: "Progress") -> "Verification":
    return prove(
        item.network,
        item.directory,
        options=options,
        certificate=None,
        progress=report,
        waiting=say_waiting,
    )


def _in_processes(
    built: Sequence[Built], options: "Options", at_once: int, reporter: "Callable[[str], Progress]"
) -> "Iterator[Verification]":
    context = multiprocessing.get_context("spawn")
    processes: list[SpawnProcess] = []
    starting = Lock()
    stopped = False

    def run(item: Built) -> "Verification":
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(sender, item, options))
        with starting:
            if stopped:
                raise KeyboardInterrupt
            _start_deaf(process)
            processes.append(process)
        # The child alone holds the sending end now, so its death is the end of the messages.
        sender.close()
        try:
            found = _result(receiver, reporter(item.network.name))
        except EOFError:
            found = None
        finally:
            process.join()
        if found is None:
            raise _broken_off(item, process.exitcode)
        return found

    with ThreadPoolExecutor(at_once) as pool:
        try:
            yield from pool.map(run, built)
        except BaseException:
            with starting:
                stopped = True
                for process in processes:
                    process.terminate()
            raise


def _start_deaf(process: "SpawnProcess") -> None:
    """Starts a process that a terminal's interrupt does not reach: this one tells it to end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    process.start()


def _result(receiver: Connection, report: "Progress") -> "Verification":
    while True:
        match receiver.recv():
            case (str(target), str(state)):
                report(target, state)
            case (DiagnosticError() | MemoryError()) as error:
                raise error
            case verification:
                return verification


def _broken_off(item: Built, code: int | None) -> DiagnosticError:
    assert code is not None, "it has ended"
    message = f"has not been verified: the process that was to do it {how_it_ended(code)}"
    place = Span.of_file(str(item.directory))
    return DiagnosticError.of("not-verified", message, place, hint="verify it again")


def _child(sender: Connection, item: Built, options: "Options") -> None:
    def stop(*_: object) -> None:
        # It ends by itself now, and to be told so once more while Python ends is a traceback.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    # Whoever asked says that nobody wants it any more, or is no longer there: perhaps at once.
    with suppress(KeyboardInterrupt, BrokenPipeError):
        signal.signal(signal.SIGTERM, stop)
        Thread(target=_end_with_parent, daemon=True).start()
        sender.send(_found(sender, item, options))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _found(
    sender: Connection, item: Built, options: "Options"
) -> "Verification | DiagnosticError | MemoryError":
    try:
        return _prove(item, options, lambda target, state: sender.send((target, state)))
    except (DiagnosticError, MemoryError) as error:
        return error


def _end_with_parent() -> None:
    """Where nobody is there to tell this process to end, it tells itself."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is a child"
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
