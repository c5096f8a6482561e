"""A system's journal, as everybody in it holds it: it stays while the journal is reopened."""

from __future__ import annotations

import collections
import contextlib
import itertools
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

from understudy.storage._errors import JournalClosed, UnderstudyError
from understudy.storage._future import CommitFuture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from understudy.storage import Journal, NewEvent, Write


# Seconds between two looks whether a system that waits for its journal is being stopped meanwhile.
LOOK_AGAIN = 0.25

AnyJournal: TypeAlias = "Journal | JournalHandle"


class PersistenceIdInUse(UnderstudyError):
    """Two living actors would write one history.

    Attributes:
        persistence_id: The history.
        owner: The ref of the actor that owns it.
    """

    def __init__(self, persistence_id: str, owner: Any) -> None:
        self.persistence_id = persistence_id
        self.owner = owner
        super().__init__(
            f"persistence_id {persistence_id!r} belongs to {owner}, which is alive; "
            "use that actor, or stop it first"
        )


class Writer:
    """The right of one incarnation to append to one history.

    Attributes:
        epoch: What its appends carry; the journal refuses all that is older.
        owner: The ref it was claimed for.
        last: The newest write it submitted; the next claimant waits for it before it reads.
        revoked: Whether a newer incarnation has claimed the history.
    """

    __slots__ = ("epoch", "last", "owner", "revoked")

    def __init__(self, epoch: int, owner: Any, last: CommitFuture[Any] | None) -> None:
        self.epoch = epoch
        self.owner = owner
        self.last = last
        self.revoked = False


class JournalHandle:
    """The journal of a system, with all its methods, for as long as the system lives.

    Behind it the journal may be closed and opened again by its supervisor. Meanwhile `submit` and
    `submit_write` give futures that wait, and everything else blocks until the journal is back.
    Thread-safe.
    """

    def __init__(self) -> None:
        self._journal: Journal | None = None
        self._broken: Journal | None = None
        self._kept: Journal | None = None
        #: Whether no journal will come any more; asked by those who wait for one.
        self.ending: Callable[[], bool] = bool
        #: Called with the error when the journal has closed itself: its owner's cue to reopen it.
        self.on_lost: Callable[[BaseException], object] | None = None
        self._back = threading.Condition()
        self._waiting: collections.deque[tuple[str, tuple[Any, ...], dict[str, Any], Any]] = (
            collections.deque()
        )
        self._ended: BaseException | None = None
        self._commit_hooks: dict[int, Callable[[Any], object]] = {}
        self._hook_ids = itertools.count()
        self._unhook: Callable[[], object] | None = None
        self._writers: dict[str, Writer] = {}
        self._prune_at = 1000
        self._epochs = itertools.count(1)
        self._slots: threading.BoundedSemaphore | None = None

    @property
    def attached(self) -> bool:
        """Whether a journal is open behind this handle now."""
        return self._journal is not None

    # -- the journal's side: called by the journal actor and the system ----------------------

    def attach(self, journal: Journal) -> None:
        """Put an open journal behind the handle; what waited goes to it, in order."""
        with self._back:
            self._unhook = journal.on_commit(self._committed)
            # Under the lock, so that nobody overtakes what has waited.
            while self._waiting:
                name, args, kwargs, future = self._waiting.popleft()
                _forward(getattr(journal, name), args, kwargs, future)
            self._journal = journal
            self._ended = None
            self._back.notify_all()

    def detach(self) -> Journal | None:
        """Take the journal away and give it back; calls wait from now on."""
        with self._back:
            journal, self._journal = self._journal or self._broken, None
            self._broken = None
            unhook, self._unhook = self._unhook, None
        if journal is not None and unhook is not None:
            unhook()
        return journal

    def keep(self, journal: Journal) -> None:
        """Hold a journal that must not be closed until somebody attaches it again."""
        self._kept = journal

    def take_kept(self) -> Journal | None:
        """What `keep` was given; None if it was nothing."""
        journal, self._kept = self._kept, None
        return journal

    def close(self, cause: BaseException | None = None) -> None:
        """Close for good: the journal, if there is one, and every call that waits for one.

        Closing twice is harmless.
        """
        journal = self.detach() or self.take_kept()
        error = cause or JournalClosed("journal of the system", "the system has stopped")
        with self._back:
            if self._ended is None:
                self._ended = error
            waiting = [entry[3] for entry in self._waiting]
            self._waiting.clear()
            self._back.notify_all()
        if journal is not None:
            journal.close()
        for future in waiting:
            future.set_exception(error)

    # -- everybody's side ---------------------------------------------------------------------

    def submit(
        self,
        stream: str,
        events: Sequence[NewEvent],
        expected_seq: int | None = None,
        epoch: int | None = None,
    ) -> CommitFuture[Any]:
        """`Journal.submit`; the future waits while the journal is being reopened."""
        journal = self._journal
        if journal is not None:  # the common case, and the shorter way
            try:
                return journal.submit(stream, events, expected_seq, epoch)
            except JournalClosed as error:
                self._lost(journal, error)
        return self._later("submit", (stream, events, expected_seq, epoch), {})

    def submit_write(self, write: Write, **options: Any) -> CommitFuture[Any]:
        """`Journal.submit_write`; the future waits while the journal is being reopened."""
        return self._later("submit_write", (write,), options)

    def submit_snapshot(self, stream: str, seq: int, state: Any) -> CommitFuture[Any]:
        """`Journal.submit_snapshot`; the future waits while the journal is being reopened."""
        return self._later("submit_snapshot", (stream, seq, state), {})

    def append(self, stream: str, events: Sequence[NewEvent], **options: Any) -> Any:
        """`Journal.append`."""
        return self.submit(stream, events, **options).result()

    def write(self, write: Write, **options: Any) -> Any:
        """`Journal.write`."""
        return self.submit_write(write, **options).result()

    def on_commit(self, call: Callable[[Any], object]) -> Callable[[], None]:
        """`Journal.on_commit`, which stays when the journal is reopened; returns the way out."""
        key = next(self._hook_ids)
        self._commit_hooks[key] = call

        def cancel() -> None:
            self._commit_hooks.pop(key, None)

        return cancel

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.current(), name)

    def current(self, timeout: float | None = None) -> Journal:
        """The open journal; waits while it is being reopened.

        Raises:
            JournalClosed: The system has stopped, or `timeout` seconds passed (optional, and if
                absent there is no limit).
        """
        journal = self._journal
        if journal is not None:
            return journal
        rest = float("inf") if timeout is None else timeout
        with self._back:
            while self._journal is None and rest > 0:
                if self._ended is not None:
                    raise self._ended
                if self.ending():
                    raise JournalClosed("journal of the system", "the system is stopping")
                self._back.wait(min(rest, LOOK_AGAIN))
                rest -= LOOK_AGAIN
            if self._journal is not None:
                return self._journal
        raise JournalClosed("journal of the system", f"it was not back within {timeout} s")

    def claim(
        self,
        persistence_id: str,
        owner: Any,
        *,
        wait: Callable[[CommitFuture[Any]], object] = CommitFuture.wait,
    ) -> Writer:
        """Make `owner` the one writer of a history; what an earlier incarnation held is revoked.

        Blocks until the writes of the earlier incarnation are settled, so that a replay that
        follows sees them.

        Args:
            persistence_id: The history.
            owner: The ref of the claimant.
            wait: How to wait for a write that is not settled; optional.

        Raises:
            PersistenceIdInUse: Another living actor has claimed it.
        """
        generation = self.current().generation
        with self._back:
            old = self._writers.get(persistence_id)
            if old is not None:
                if old.owner != owner and old.owner.is_alive():
                    raise PersistenceIdInUse(persistence_id, old.owner)
                old.revoked = True
            # Epochs grow over incarnations and, by the generation, over openings of the journal.
            epoch = (generation << 32) | next(self._epochs)
            new = self._writers[persistence_id] = Writer(epoch, owner, old.last if old else None)
            self._prune()
        if old is not None and old.last is not None and not old.last.done():
            wait(old.last)
        return new

    @contextlib.contextmanager
    def recovery_slot(self, places: int) -> Iterator[None]:
        """Wait for one of the `places` in which recoveries from this journal may run."""
        slots = self._slots
        if slots is None:
            with self._back:
                slots = self._slots = self._slots or threading.BoundedSemaphore(places)
        with slots:
            yield

    def owner(self, persistence_id: str) -> Any:
        """The living actor that has claimed a history; None if nobody has."""
        writer = self._writers.get(persistence_id)
        return writer.owner if writer is not None and writer.owner.is_alive() else None

    def _prune(self) -> None:
        """Forget the writers of dead actors, now and then: amortised over the claims."""
        if len(self._writers) < self._prune_at:
            return
        self._writers = {
            persistence_id: writer
            for persistence_id, writer in self._writers.items()
            if writer.owner.is_alive() or not (writer.last is None or writer.last.done())
        }
        self._prune_at = 2 * len(self._writers) + 1000

    def _later(
        self, name: str, args: tuple[Any, ...], options: dict[str, Any]
    ) -> CommitFuture[Any]:
        while True:
            journal = self._journal
            if journal is None:
                with self._back:
                    journal = self._journal
                    if journal is None:
                        future: CommitFuture[Any] = CommitFuture()
                        if self._ended is not None:
                            future.set_exception(self._ended)
                        else:
                            self._waiting.append((name, args, options, future))
                        return future
            try:
                result: CommitFuture[Any] = getattr(journal, name)(*args, **options)
            except JournalClosed as error:
                # Refused, so nothing of it was written: it waits for the journal to be reopened.
                self._lost(journal, error)
            else:
                return result

    def _lost(self, journal: Journal, error: JournalClosed) -> None:
        """The journal closed itself: its writer could not go on."""
        with self._back:
            if self._journal is not journal:
                return
            self._journal = None
            self._broken = journal
            tell = self.on_lost
        if tell is not None:
            tell(error)

    def _committed(self, info: Any) -> None:
        for hook in tuple(self._commit_hooks.values()):
            hook(info)


def _forward(
    submit: Callable[..., CommitFuture[Any]],
    args: tuple[Any, ...],
    options: dict[str, Any],
    future: CommitFuture[Any],
) -> None:
    try:
        inner = submit(*args, **options)
    except Exception as error:
        future.set_exception(error)
        return

    def settle(done: CommitFuture[Any]) -> None:
        error = done.exception()
        if error is None:
            future.set_result(done.result())
        else:
            future.set_exception(error)

    inner.add_done_callback(settle)
