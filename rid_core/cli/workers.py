"""Photos protected one after the other, or by several processes.

A process that is killed costs the photo it worked on and nothing else. A photo that does not fit
into its process's share of the memory is done at the end, alone.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import unicodedata
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from rid_core.cli.common import silent_libraries, terminate
from rid_core.cli.plan import Job, identities
from rid_core.errors import LowMemoryError, RidError

if TYPE_CHECKING:
    from rid_core.protection import Outcome


@dataclass(frozen=True)
class Settings:
    """How photos are protected; see the options of ``rid-protect``."""

    model: str
    levels: int | None = None
    strength: float = 1.0
    quality: int | None = None
    strip_gps: bool = False
    threads: int | None = None


Handler = Callable[[Job], "Outcome"]
Results = Generator[tuple[Job, "Outcome | RidError"], None, None]


def open_model(settings: Settings) -> Handler:
    """What protects a photo.

    Raises:
        RidError: the model cannot be opened.
    """
    from rid_core import runtimes
    from rid_core.budget import Budget
    from rid_core.protection import protect_file

    runtime = runtimes.load_runtime(settings.model, threads=settings.threads)
    levels = runtime.levels if settings.levels is None else settings.levels
    budget = Budget(levels, settings.strength)

    def protect(job: Job) -> Outcome:
        with silent_libraries():
            return protect_file(
                job.source,
                job.target,
                runtime,
                budget,
                quality=settings.quality,
                strip_gps=settings.strip_gps,
                comparison=job.comparison,
            )

    return protect


def in_turn(jobs: list[Job], settings: Settings) -> Results:
    """Protect photos in this process, one after the other.

    Raises:
        RidError: the model cannot be opened.
    """
    protect = open_model(settings)
    written: set[Hashable] = set()
    for job in jobs:
        try:
            _check_unwritten(job, written)
            outcome = protect(job)
        except RidError as error:
            yield job, error
        else:
            written |= identities(job.target)
            yield job, outcome


def in_processes(
    jobs: list[Job],
    settings: Settings,
    workers: int,
    opener: Callable[[Settings], Handler] = open_model,
) -> Results:
    """Protect photos in several processes; results come in the order of the photos.

    Args:
        jobs: the photos.
        settings: how; without ``threads``, the processes share the cores.
        workers: how many processes.
        opener: called once in each process; what it returns is called with each photo.

    Raises:
        RidError: the model cannot be opened.
    """
    from rid_core.checkpoint import find_model

    settings = replace(settings, model=str(find_model(settings.model)))  # fetched once, not by each
    if settings.threads is None:
        settings = replace(settings, threads=max((os.cpu_count() or 1) // workers, 1))
    pool = _Pool(jobs, workers, settings, opener)
    try:
        for number, job in enumerate(jobs):
            while number not in pool.finished:
                pool.assign()
                pool.collect()
            yield job, pool.finished.pop(number)
    finally:
        for worker in pool.crew:
            worker.stop()


class _Pool:
    """The processes, and what is to be done and was done.

    Attributes:
        crew: the processes; some may have no photo.
        finished: results by the photo's number.
    """

    def __init__(
        self,
        jobs: list[Job],
        workers: int,
        settings: Settings,
        opener: Callable[[Settings], Handler],
    ) -> None:
        self._jobs = jobs
        self._workers = workers
        self._started_with = (opener, settings)
        self._waiting = deque(range(len(jobs)))
        self._alone: deque[int] = deque()
        self._written: set[Hashable] = set()
        self.crew: list[_Worker] = []
        self.finished: dict[int, Outcome | RidError] = {}

    def assign(self) -> None:
        """Give photos to processes that have none, and start processes for photos."""
        while self._waiting or self._alone:
            busy = [worker.job for worker in self.crew if worker.job]
            queue, sharers = (self._waiting, self._workers) if self._waiting else (self._alone, 1)
            job = self._jobs[queue[0]]
            # Two names that differ in case may be one file, which shows when the first is written.
            if len(busy) >= sharers or _folded(job) in map(_folded, busy):
                return
            number = queue.popleft()
            try:
                _check_unwritten(job, self._written)
            except RidError as error:
                self.finished[number] = error
                continue
            idle = (each for each in self.crew if not each.job and each.process.is_alive())
            worker = next(idle, None)
            if worker is None:
                worker = _Worker(*self._started_with)
                self.crew.append(worker)
            worker.begin(number, job, sharers)

    def collect(self) -> None:
        """Wait until processes have answered, or are gone, and note what they say."""
        busy = {worker.connection: worker for worker in self.crew if worker.job}
        ready: list[Any] = wait(list(busy)) if busy else []
        for connection in ready:
            worker = busy[connection]
            answer = worker.answer()
            if isinstance(answer, LowMemoryError) and worker.sharers > 1:
                self._alone.append(worker.number)
                continue
            self.finished[worker.number] = answer
            if not isinstance(answer, RidError):
                self._written |= identities(answer.target)


class _Worker:
    """A process and the photo it works on.

    Attributes:
        job: the photo; None between photos.
        number: of the last photo.
        sharers: how many processes shared the memory while it was done.
    """

    job: Job | None = None
    number = -1
    sharers = 1

    def __init__(self, opener: Callable[[Settings], Handler], settings: Settings) -> None:
        # A fresh interpreter: a fork would take over the locks of threads that it does not have.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, opener, settings), daemon=True)
        with _no_interrupt():
            self.process.start()
        theirs.close()

    def begin(self, number: int, job: Job, sharers: int) -> None:
        """Hand over a photo; should the process be gone, :meth:`answer` tells."""
        self.number, self.job, self.sharers = number, job, sharers
        with contextlib.suppress(OSError):
            self.connection.send((job, sharers))

    def answer(self) -> Outcome | RidError:
        """What became of the photo.

        Raises:
            RidError: the model cannot be opened.
        """
        job, self.job = self.job, None
        try:
            is_fatal, result = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            return RidError(
                f"{job and job.source}: the process that worked on it ended {how}; run again"
            )
        if is_fatal:
            raise RidError(str(result))
        answer: Outcome | RidError = result
        return answer

    def stop(self) -> None:
        """End the process; it removes what it has half written."""
        if self.job:
            self.process.terminate()
        self.connection.close()
        self.process.join()


def _serve(
    connection: Connection, opener: Callable[[Settings], Handler], settings: Settings
) -> None:
    """Protect what is sent, in a process of its own, until the other end is closed."""
    from rid_core.image import spill

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the first process decides
    signal.signal(signal.SIGTERM, terminate)
    try:
        protect = opener(settings)
    except RidError as error:
        connection.send((True, str(error)))
        return
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            job, sharers = connection.recv()
            spill.share_memory(sharers)
            result: Outcome | RidError
            try:
                result = protect(job)
            except RidError as error:
                # Of the two classes that are told apart; another may not survive the way.
                kind = LowMemoryError if isinstance(error, LowMemoryError) else RidError
                result = kind(str(error))
            connection.send((False, result))


@contextlib.contextmanager
def _no_interrupt() -> Iterator[None]:
    """Let a process be started with Ctrl-C blocked, which it is until it says what to do."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _check_unwritten(job: Job, written: set[Hashable]) -> None:
    if identities(job.target) & written:
        raise RidError(f"{job.target} was just written for another photo")


def _folded(job: Job) -> str:
    return unicodedata.normalize("NFC", os.path.realpath(job.target)).casefold()
