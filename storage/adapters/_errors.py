"""What the adapters raise beside the journal's own errors."""

from __future__ import annotations

from typing import Any

from understudy.storage._errors import StorageError


class StoreClosed(StorageError):
    """A store was used before `initialize()` or after `close()`.

    Attributes:
        name: the adapter's name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"the {name} store is closed; call initialize() to open it")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.name,))


class StoreFailed(StorageError):
    """The database behind a store could not do what was asked; nothing of it was kept.

    Attributes:
        name: the adapter's name.
        reason: what the database said.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(
            f"the {name} store could not do this: {reason}; nothing of it was stored, "
            "the store goes on when the cause is gone"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.name, self.reason))


class StoreInUse(StorageError):
    """Another store object, here or in another process, works on the same place.

    Attributes:
        name: the adapter's name.
        place: the folder or file.
    """

    def __init__(self, name: str, place: str) -> None:
        self.name = name
        self.place = place
        super().__init__(
            f"the {name} store at {place!r} is in use; close it there, or use that object"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.name, self.place))


class BadStorageUrl(StorageError, ValueError):
    """A storage URL names no store that is known, or lacks a part.

    Attributes:
        url: the URL, without its password.
        reason: what is wrong with it.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(
            f"storage URL {url!r}: {reason}; use lmdb:///path, sqlite:///path, file:///path, "
            "postgresql://host/database, redis://host:port/number or memory://"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.url, self.reason))


class MissingDriver(StorageError, ImportError):
    """The Python package that a store needs is not installed.

    Attributes:
        store: the adapter's name.
        package: the package that is missing.
        extra: the extra of this project that brings it.
    """

    def __init__(self, store: str, package: str, extra: str) -> None:
        self.store = store
        self.package = package
        self.extra = extra
        super().__init__(
            f"the {store} store needs the package {package!r}: pip install 'understudy[{extra}]'"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.store, self.package, self.extra))
