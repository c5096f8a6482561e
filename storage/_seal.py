"""Compression and encryption of payloads, stream by stream.

Encryption is AES-GCM with a fresh nonce per event; stream, type and version are bound to the
ciphertext, so that it cannot be moved under another name. A key belongs to a person or a tenant:
dropping it from the key ring shreds everything written with it, in the journal, its archives and
its backups alike, and reads then give `Shredded` in place of the payload.
"""

from __future__ import annotations

import json
import os
import pathlib
import threading
import zlib
from typing import TYPE_CHECKING, Any

from understudy.storage._errors import StorageError, UnknownKey
from understudy.storage._record import COMPRESSED, ENCRYPTED, Shredded
from understudy.storage._tables import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.storage._record import EventIds, NewEvent, Record

#: Payloads below this many bytes gain nothing by deflate.
LEAST_COMPRESSED = 256

KEY_BYTES = 32


class KeyRing:
    """Encryption keys by id, in a file of their own or in memory.

    Keep the file apart from the journal and its backups: whoever has both has the data.

    Args:
        path: a JSON file, made if missing, readable by its owner alone. Optional, and if absent
            the keys live as long as this object.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._path = None if path is None else pathlib.Path(path)
        self._lock = threading.Lock()
        self._keys: dict[str, bytes] = {}
        if self._path is not None and self._path.exists():
            stored = json.loads(self._path.read_text("utf-8"))
            self._keys = {key_id: bytes.fromhex(key) for key_id, key in stored.items()}

    def get(self, key_id: str) -> bytes | None:
        """The key, or None where it was never made or is gone."""
        return self._keys.get(key_id)

    def create(self, key_id: str) -> bytes:
        """The key of this id, made now if there is none."""
        with self._lock:
            key = self._keys.get(key_id)
            if key is None:
                key = self._keys[key_id] = os.urandom(KEY_BYTES)
                self._save()
            return key

    def add(self, key_id: str, key: bytes) -> None:
        """Take over a key of 16, 24 or 32 bytes from elsewhere."""
        if len(key) not in (16, 24, 32):
            raise ValueError(f"key {key_id!r} has {len(key)} bytes: use 16, 24 or 32")
        with self._lock:
            self._keys[key_id] = key
            self._save()

    def delete(self, key_id: str) -> bool:
        """Drop a key for ever: what was written with it cannot be read again by anybody."""
        with self._lock:
            gone = self._keys.pop(key_id, None) is not None
            if gone:
                self._save()
            return gone

    def ids(self) -> list[str]:
        """The ids of the keys, sorted."""
        return sorted(self._keys)

    def _save(self) -> None:
        if self._path is None:
            return
        fresh = self._path.with_name(self._path.name + ".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump({key_id: key.hex() for key_id, key in self._keys.items()}, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        # The name as well: what is encrypted with a key must not outlive it.
        fd = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class Sealer:
    """Turns payloads into what is stored, and back.

    Args:
        keys: the key ring. Optional, needed as soon as a stream is encrypted.
        encrypt: the key id for a stream, or None to store it in the clear.
        compress: whether a stream's payloads are compressed.
    """

    def __init__(
        self,
        keys: KeyRing | None,
        encrypt: Callable[[str], str | None] | None,
        compress: Callable[[str], bool] | None,
    ) -> None:
        if encrypt is not None:
            _aesgcm()  # refused at the opening, not at the first append
        self._keys = keys
        self._encrypt = encrypt
        self._compress = compress

    def for_stream(
        self, stream: str
    ) -> Callable[[NewEvent, bytes, bytes], tuple[bytes, bytes, int]] | None:
        """What seals the events of a stream; None where nothing is to be done."""
        key_id = None if self._encrypt is None else self._encrypt(stream)
        compress = self._compress is not None and self._compress(stream)
        if key_id is None and not compress:
            return None
        key = None if key_id is None else self._key(key_id)

        def seal(event: NewEvent, payload: bytes, metadata: bytes) -> tuple[bytes, bytes, int]:
            data = b"\x92" + payload + metadata
            flags = 0
            if compress and len(data) >= LEAST_COMPRESSED:
                small = zlib.compress(data, 1)
                if len(small) < len(data):
                    data, flags = small, COMPRESSED
            if key is not None:
                bound = pack((stream, event.type, event.version))
                data = pack(_encrypted(key_id, key, data, bound))
                return data, b"\xc0", flags | ENCRYPTED
            if not flags:
                return payload, metadata, 0
            return pack(data), b"\xc0", flags

        return seal

    def seal_blob(self, stream: str, data: bytes) -> bytes:
        """Seal the state of a snapshot: its encryption follows its stream."""
        key_id = None if self._encrypt is None else self._encrypt(stream)
        compress = self._compress is not None and self._compress(stream)
        flags = 0
        if compress and len(data) >= LEAST_COMPRESSED:
            data, flags = zlib.compress(data, 1), COMPRESSED
        if key_id is not None:
            bound = pack((stream, "snapshot"))
            data = pack(_encrypted(key_id, self._key(key_id), data, bound))
            flags |= ENCRYPTED
        return bytes((flags,)) + data

    def unseal_blob(self, stream: str, blob: memoryview) -> bytes | memoryview | None:
        """The state of a snapshot; None where its key is gone."""
        flags = blob[0]
        data: bytes | memoryview = blob[1:]
        if flags & ENCRYPTED:
            opened = self._open(data, pack((stream, "snapshot")))
            if isinstance(opened, Shredded):
                return None
            data = opened
        return zlib.decompress(data) if flags & COMPRESSED else data

    def _key(self, key_id: str) -> bytes:
        key = None if self._keys is None else self._keys.get(key_id)
        if key is None:
            raise UnknownKey(key_id)
        return key

    def open(self, record: Record) -> tuple[bytes, bytes] | Shredded:
        """The packed payload and metadata of a sealed record."""
        data = bytes(record._event.payload)
        flags = record._event.flags
        if flags & ENCRYPTED:
            opened = self._open(data, pack((record.stream, record.type, record.version)))
            if isinstance(opened, Shredded):
                return opened
            data = opened
        else:
            data = unpack(data)
        if flags & COMPRESSED:
            data = zlib.decompress(data)
        return split(data)

    def _open(self, data: bytes | memoryview, bound: bytes) -> bytes | Shredded:
        key_id, nonce, secret = unpack(data)
        key = None if self._keys is None else self._keys.get(key_id)
        if key is None:
            return Shredded(key_id)
        cipher = _cipher(key)
        from cryptography.exceptions import InvalidTag

        try:
            opened: bytes = cipher.decrypt(nonce, secret, bound)
        except InvalidTag as error:
            raise StorageError(
                f"data encrypted with key {key_id!r} does not open with the key of that id; "
                "the key was replaced, or the data was moved from elsewhere"
            ) from error
        return opened


def split(data: bytes) -> tuple[bytes, bytes]:
    """Payload and metadata out of the packed pair."""
    import msgspec

    pair = msgspec.msgpack.decode(data, type=tuple[msgspec.Raw, msgspec.Raw])
    return bytes(pair[0]), bytes(pair[1])


def _aesgcm() -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise StorageError(
            "encryption needs the package cryptography: pip install 'understudy[crypto]'"
        ) from error
    return AESGCM


def _cipher(key: bytes) -> Any:
    return _aesgcm()(key)


def _encrypted(key_id: str | None, key: bytes, data: bytes, bound: bytes) -> tuple[Any, ...]:
    nonce = os.urandom(12)
    return key_id, nonce, _cipher(key).encrypt(nonce, data, bound)


class StoredSource:
    """Makes data of stored records: the codec's, opened where they were sealed."""

    def __init__(
        self, ids: EventIds, unpack_payload: Callable[[bytes], Any], sealer: Sealer
    ) -> None:
        self._ids = ids
        self._unpack = unpack_payload
        self._sealer = sealer

    def event_id(self, position: int, timestamp_us: int) -> str:
        """The id of an event that was given none."""
        return self._ids.make(position, timestamp_us)

    def unpack(self, record: Record) -> tuple[Any, Any]:
        """Payload and metadata."""
        event = record._event
        if not event.flags & (COMPRESSED | ENCRYPTED):
            metadata = bytes(event.metadata)
            return (
                self._unpack(event.payload),
                None if metadata == b"\xc0" else unpack(metadata),
            )
        opened = self._sealer.open(record)
        if isinstance(opened, Shredded):
            return opened, None
        payload, metadata = opened
        return self._unpack(payload), None if metadata == b"\xc0" else unpack(metadata)
