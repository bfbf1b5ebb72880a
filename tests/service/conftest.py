"A store with three champions that answer differently, made once, and a service on it that no test changes."

from collections.abc import Iterator
from pathlib import Path

import pytest
from services import Service, serve
from stores import TINY, Place, make_data, settings_for, with_refusals

from rumos_bank.governance.tracking import open_store
from rumos_bank.model.search import search

FAMILIES = {1: "Decision_tree", 2: "LightGBM", 3: "HistGradientBoosting"}  # version → family, each cheaper


@pytest.fixture(scope="session")
def promoted(tmp_path_factory) -> Iterator[Place]:
    "Three promoted versions, the last is the champion; no test changes this store, and no service decides into it."
    settings = settings_for(tmp_path_factory.mktemp("promoted") / "store")
    place = Place(open_store(settings), settings, make_data(seed=1), None)
    for version, family in FAMILIES.items():
        found = search(family, place.data.train, settings, TINY)
        place.promote(place.log(with_refusals(found, 320 - 20 * version), key=family))
    yield place
    assert not settings.audit_path.exists(), "a service was started on the store that all tests copy"


@pytest.fixture
def store(promoted, tmp_path) -> Path:
    "A copy that a test may change."
    return promoted.copy_to(tmp_path / "store").store.path


@pytest.fixture(scope="session")
def service(promoted, tmp_path_factory) -> Iterator[Service]:
    "A service that several tests ask, on a copy: it writes its decisions into it."
    place = promoted.copy_to(tmp_path_factory.mktemp("asked") / "store")
    with serve(place.store.path, tmp_path_factory.mktemp("service")) as started:
        yield started
