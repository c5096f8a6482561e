"""Compression and encryption per stream; deleting a key shreds what was written with it."""

from __future__ import annotations

import builtins
import os
import stat

import pytest

from tests.storage.conftest import events, there
from understudy.storage import Journal, KeyRing, NewEvent, Shredded, StorageError, UnknownKey


def by_person(stream):
    return stream.split(":")[1] if stream.startswith("person:") else None


@pytest.fixture
def keys(tmp_path):
    keys = KeyRing(tmp_path / "keys.json")
    keys.create("ada")
    keys.create("bob")
    return keys


def fill(journal):
    for person in ("ada", "bob"):
        journal.append(
            f"person:{person}",
            [
                NewEvent(
                    "named", {"name": f"SECRET-{person}"}, metadata={"trace": f"SECRET-{person}"}
                ),
                NewEvent(
                    "critical", f"SECRET-{person}", f"{person}-2", priority="critical", version=2
                ),
            ],
        )
        journal.save_snapshot(f"person:{person}", 2, {"name": f"SECRET-{person}"})
    journal.append("open", [NewEvent("plain", "visible")])


def test_encrypted_streams_read_as_if_they_were_not_and_no_secret_is_on_disk(path, keys):
    with Journal.open(path, keys=keys, encrypt=by_person) as journal:
        fill(journal)
        one, two = journal.read("person:ada")
        assert (one.payload, one.metadata) == ({"name": "SECRET-ada"}, {"trace": "SECRET-ada"})
        assert (two.payload, two.metadata, two.id, two.priority, two.version) == (
            "SECRET-ada", None, "ada-2", "critical", 2,
        )  # fmt: skip
        assert there(journal.load_snapshot("person:ada")).state == {"name": "SECRET-ada"}
        archive = there(journal.archive())
        assert [r.payload for r in archive.read("person:bob")][1] == "SECRET-bob"
        assert b"SECRET" not in archive.path.read_bytes()
    data = (path / "data.mdb").read_bytes()
    assert b"SECRET" not in data
    assert b"visible" in data


def test_deleting_a_key_shreds_a_person_and_nobody_else(path, keys, tmp_path, caplog):
    with Journal.open(path, keys=keys, encrypt=by_person) as journal:
        fill(journal)
        archive = there(journal.archive())
        assert keys.delete("ada")
        assert not keys.delete("ada")
        one, two = journal.read("person:ada")
        assert one.payload == Shredded("ada")
        assert one.metadata is None
        assert (two.payload, two.id, two.type) == (Shredded("ada"), "ada-2", "critical")
        assert next(journal.read("person:bob")).payload == {"name": "SECRET-bob"}
        assert journal.load_snapshot("person:ada") is None
        assert next(archive.read("person:ada")).payload == Shredded("ada")
        assert journal.verify().ok
        journal.export(tmp_path / "out.jsonl", "person:ada")
        assert '{"$shredded":"ada"}' in (tmp_path / "out.jsonl").read_text()
        with pytest.raises(UnknownKey) as caught:
            journal.append("person:ada", events(1))
        assert caught.value.key_id == "ada"
        with pytest.raises(UnknownKey):
            journal.save_snapshot("person:ada", 3, 1)


def test_a_journal_without_the_keys_sees_markers(path, keys):
    with Journal.open(path, keys=keys, encrypt=by_person) as journal:
        fill(journal)
    with Journal.open(path) as journal:
        assert next(journal.read("person:ada")).payload == Shredded("ada")
        assert next(journal.read("open")).payload == "visible"
        journal.append("person:ada", [NewEvent("plain")])
    with pytest.raises(UnknownKey), Journal.open(path, encrypt=by_person) as journal:
        journal.append("person:ada", events(1))


def test_data_moved_under_another_name_or_key_does_not_open(path, keys):
    with Journal.open(path, keys=keys, encrypt=by_person) as journal:
        fill(journal)
        keys.add("ada", bytes(32))
        with pytest.raises(StorageError, match="does not open"):
            _ = next(journal.read("person:ada")).payload
        assert journal.load_snapshot("person:ada") is None


def test_keys_live_in_a_file_of_their_owner(tmp_path):
    path = tmp_path / "keys.json"
    keys = KeyRing(path)
    key = keys.create("a")
    assert keys.create("a") == key
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = KeyRing(path)
    assert again.get("a") == key
    assert again.ids() == ["a"]
    again.delete("a")
    assert KeyRing(path).get("a") is None
    with pytest.raises(ValueError, match="5 bytes"):
        again.add("b", b"short")
    memory = KeyRing()
    memory.add("c", bytes(16))
    assert memory.get("c") == bytes(16)


def test_compressed_streams_are_smaller_and_read_the_same(path):
    with Journal.open(path, compress=lambda stream: stream == "small") as journal:
        long = {"text": "word " * 2000}
        noise = bytes(range(256)) * 2
        journal.append("small", [NewEvent("x", long, metadata={"m": 1}), NewEvent("x", 1)])
        journal.append("large", [NewEvent("x", long)])
        one, two = journal.read("small")
        assert (one.payload, one.metadata) == (long, {"m": 1})
        assert two.payload == 1
        assert len(one.payload_bytes) < 500
        assert len(next(journal.read("large")).payload_bytes) > 9000
        journal.append("small", [NewEvent("noise", noise)])
        assert list(journal.read("small"))[2].payload == noise
        journal.save_snapshot("small", 3, long)
        assert there(journal.load_snapshot("small")).state == long
        assert journal.verify().ok


def test_compressed_and_encrypted_together(path, keys):
    options = {"keys": keys, "encrypt": by_person, "compress": lambda stream: True}
    with Journal.open(path, **options) as journal:
        text = "SECRET " * 1000
        journal.append("person:ada", [NewEvent("x", text, metadata={"a": text})])
        journal.save_snapshot("person:ada", 1, text)
        [record] = journal.read("person:ada")
        assert (record.payload, record.metadata) == (text, {"a": text})
        assert len(record.payload_bytes) < 1000
        assert there(journal.load_snapshot("person:ada")).state == text
    assert b"SECRET" not in (path / "data.mdb").read_bytes()


def test_a_noise_that_does_not_shrink_is_stored_as_it_is(memory):
    import os

    with Journal.in_memory(compress=lambda stream: True) as journal:
        noise = os.urandom(1000)
        journal.append("s", [NewEvent("x", noise)])
        [record] = journal.read("s")
        assert record.payload == noise
        assert len(record.payload_bytes) < 1010


def test_encryption_without_its_package_says_what_to_install(monkeypatch, keys):
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("cryptography"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    with Journal.in_memory(keys=keys, encrypt=by_person) as journal:
        journal.append("person:ada", events(1))
        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(StorageError, match=r"understudy\[crypto\]"):
            Journal.in_memory(keys=keys, encrypt=by_person)
        [record] = journal.read("person:ada")
        with pytest.raises(StorageError, match=r"understudy\[crypto\]"):
            _ = record.payload


def test_a_codec_of_ones_own_packs_and_unpacks(path):
    import json

    class Text:
        def pack(self, value):
            import msgspec

            return msgspec.msgpack.encode(json.dumps(value))

        def unpack(self, data):
            import msgspec

            return json.loads(msgspec.msgpack.decode(data))

    with Journal.open(path, codec=Text()) as journal:
        journal.append("s", [NewEvent("x", {"a": [1]})])
        journal.save_snapshot("s", 1, {"b": 2})
        assert next(journal.read("s")).payload == {"a": [1]}
        assert there(journal.load_snapshot("s")).state == {"b": 2}
    with Journal.open(path) as journal:
        assert next(journal.read("s")).payload == '{"a": [1]}'


def test_a_new_key_survives_a_power_cut_from_the_moment_it_is_given_out(tmp_path, monkeypatch):
    flushed = []
    fsync = os.fsync

    def note(fd):
        flushed.append((os.fstat(fd).st_ino, path.exists()))
        fsync(fd)

    path = tmp_path / "keys.json"
    ring = KeyRing(path)
    monkeypatch.setattr(os, "fsync", note)
    key = ring.create("k")
    # Its bytes before the file has its name, and the name before the key is used.
    assert flushed == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]
    assert KeyRing(path).get("k") == key
