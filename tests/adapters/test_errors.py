"""The adapters' errors say offender, state and next step, and travel between processes."""

from __future__ import annotations

import pickle

import pytest

from understudy.storage import StorageError
from understudy.storage._protocols import ListOptions
from understudy.storage.adapters import (
    BadStorageUrl,
    MissingDriver,
    StoreClosed,
    StoreFailed,
    StoreInUse,
)
from understudy.storage.adapters._migrate import MigrationIncomplete, MigrationRefused


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StoreClosed("sqlite"), "call initialize()"),
        (StoreFailed("redis", "out of memory"), "out of memory; nothing of it was stored"),
        (StoreInUse("filesystem", "here"), "close it there"),
        (BadStorageUrl("x:", "unknown kind 'x'"), "use lmdb:///path"),
        (MissingDriver("postgres", "psycopg", "postgres"), "pip install"),
        (MigrationRefused("the target holds 1 keys"), "the target holds 1 keys"),
        (MigrationIncomplete({"keys": "1 here, 2 there"}), "keys: 1 here, 2 there"),
    ],
)
def test_errors_say_what_to_do_and_can_be_pickled(error, told):
    assert told in str(error)
    assert isinstance(error, StorageError)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("wrong", [{"sort": "size"}, {"limit": -1}, {"offset": -1}])
def test_options_that_make_no_sense_are_refused_with_the_accepted_ones(wrong):
    with pytest.raises(ValueError, match="use"):
        ListOptions(**wrong)
