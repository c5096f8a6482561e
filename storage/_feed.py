"""Live subscriptions: first what is there, then what comes, each record once and in order."""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING, Any

from understudy.storage._errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.storage._reader import Filter, Reader
    from understudy.storage._record import Record
    from understudy.storage._writer import CommitInfo

log = logging.getLogger("understudy.storage")

#: Records a subscription gets before the next one has its turn.
TURN = 1000

#: Seconds that closing waits for a subscriber's callback to return. Chosen by feel: a callback
#: must not block at all.
PATIENCE_SECONDS = 5.0

#: Seconds between looks for news where the writer is another process and cannot call.
POLL_SECONDS = 0.05


class LiveSubscription:
    """A live subscription; `cancel` ends it.

    Attributes:
        position: of the last record delivered: a seq for a subscription to one stream, a global
            position for one to the whole journal.
        errors: exceptions its callback raised; each was logged and cost nothing but its record.
        failed: why it ended by itself (a damaged record, a closed journal), or None.
    """

    def __init__(
        self,
        feed: Feed,
        callback: Callable[[Record], object],
        stream: str | None,
        wanted: Filter,
        after: int,
    ) -> None:
        self._feed = feed
        self._callback = callback
        self._wanted = wanted
        self._lock = threading.RLock()
        self.stream = stream
        self.position = after
        self.errors = 0
        self.cancelled = False
        self.failed: StorageError | None = None

    def cancel(self) -> None:
        """End it. No callback runs after this returns, except the one it was called from."""
        self.cancelled = True
        if not self._feed.forked:
            self._feed.remove(self)
            with self._lock:
                pass

    def __enter__(self) -> LiveSubscription:
        return self

    def __exit__(self, *exc: object) -> None:
        self.cancel()

    def _pump(self, reader: Reader) -> bool:
        """Deliver what there is, at most a turn's worth; whether there may be more."""
        count = end = 0
        if self.stream is None:
            end = reader.catalog.view.position
            if reader.refresh is not None:
                reader.refresh()
                end = reader.catalog.view.position
            records = reader.everything(self.position, self._wanted, TURN, False, end)
        else:
            records = reader.stream(self.stream, self.position, None, self._wanted, TURN, False)
        for record in records:
            count += 1
            with self._lock:
                if self.cancelled:
                    return False
                self.position = record.position if self.stream is None else record.seq
                try:
                    self._callback(record)
                except Exception:
                    self.errors += 1
                    self._feed.errors += 1
                    log.exception(
                        "subscriber of %s raised on record %d; it goes on with the next",
                        self.stream or "the journal",
                        record.position,
                    )
        if count < TURN:
            if self.stream is None:
                # Records that were passed over need not be looked at again.
                self.position = max(self.position, end)
            return False
        return True


class Feed:
    """The thread that delivers. Started with the first subscription."""

    def __init__(self, reader: Reader, *, poll: bool) -> None:
        self._reader = reader
        self._poll = poll
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._streams: dict[str, list[LiveSubscription]] = {}
        self._all: list[LiveSubscription] = []
        self._thread: threading.Thread | None = None
        self._closed = False
        self.errors = 0

    @property
    def forked(self) -> bool:
        """Whether this is a forked child, where the thread does not exist."""
        return self._reader.environment.forked

    def __len__(self) -> int:
        with self._lock:
            return len(self._all) + sum(map(len, self._streams.values()))

    def subscribe(
        self, callback: Callable[[Record], object], stream: str | None, wanted: Filter, after: int
    ) -> LiveSubscription:
        """Begin a subscription."""
        subscription = LiveSubscription(self, callback, stream, wanted, after)
        with self._lock:
            if stream is None:
                self._all.append(subscription)
            else:
                self._streams.setdefault(stream, []).append(subscription)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="understudy-journal-feed", daemon=True
                )
                self._thread.start()
        self._queue.put(subscription)
        return subscription

    def remove(self, subscription: LiveSubscription) -> None:
        """Forget a subscription; again does nothing."""
        with self._lock:
            name = subscription.stream
            group = self._all if name is None else self._streams.get(name, [])
            if subscription in group:
                group.remove(subscription)
            if name is not None and not group:
                self._streams.pop(name, None)

    def notify(self, info: CommitInfo) -> None:
        """A commit is safe; called by the writer."""
        if self._thread is not None and info.streams:
            self._queue.put(info)

    def close(self) -> None:
        """End the thread, after what it is delivering."""
        self._closed = True
        thread = self._thread
        if thread is not None:
            self._queue.put(None)
            if thread is not threading.current_thread() and not self.forked:
                thread.join(PATIENCE_SECONDS)
                if thread.is_alive():
                    log.warning(
                        "a subscriber of the journal has not returned for %s s; it is left behind",
                        PATIENCE_SECONDS,
                    )

    def _run(self) -> None:
        patience = POLL_SECONDS if self._poll else None
        while True:
            due: dict[LiveSubscription, None] = {}
            try:
                items = [self._queue.get(timeout=patience)]
                items += [self._queue.get_nowait() for _ in range(self._queue.qsize())]
            except queue.Empty:
                items = [_EVERYTHING]
            for item in items:
                if item is None:
                    return
                self._collect(item, due)
            for subscription in due:
                if self._closed:
                    return
                self._serve(subscription)

    def _collect(self, item: Any, due: dict[LiveSubscription, None]) -> None:
        if isinstance(item, LiveSubscription):
            due[item] = None
            return
        with self._lock:
            due.update(dict.fromkeys(self._all))
            if item is _EVERYTHING:
                for group in self._streams.values():
                    due.update(dict.fromkeys(group))
                return
            if self._streams:
                for stream in item.streams:
                    due.update(dict.fromkeys(self._streams.get(stream, ())))

    def _serve(self, subscription: LiveSubscription) -> None:
        try:
            if not subscription.cancelled and subscription._pump(self._reader):
                self._queue.put(subscription)
        except StorageError as error:
            subscription.failed = error
            subscription.cancelled = True
            self.remove(subscription)
            if not self._closed:
                log.exception("subscription to %s ended", subscription.stream or "the journal")


_EVERYTHING = object()
