"A store with finished searches whose costs can be counted by hand, made once; every test gets a copy of it."

import pytest
from stores import TINY, Data, Place, make_data, settings_for, with_refusals

from rumos_bank.governance.tracking import open_store
from rumos_bank.model.search import SearchResult, search


@pytest.fixture(scope="session")
def data() -> Data:
    return make_data(seed=1)


@pytest.fixture(scope="session")
def found(data, tmp_path_factory) -> SearchResult:
    return search("Decision_tree", data.train, settings_for(tmp_path_factory.getbasetemp()), TINY)


@pytest.fixture(scope="session")
def template(data, found, tmp_path_factory) -> Place:
    "The store that the others are copied from; no test changes it."
    settings = settings_for(tmp_path_factory.mktemp("template") / "store")
    place = Place(open_store(settings), settings, data, found)
    refusals = {"first": 300, "dearer": 301, "tied": 300, "cheaper": 296, "cheapest": 200}
    families = {"cheapest": "Random_forest"}  # still a tree: only the name matters
    place.runs = {
        name: place.log(
            with_refusals(found, payers, last=name == "tied"),
            key=name,
            family=families.get(name, "Decision_tree"),
        )
        for name, payers in refusals.items()
    }
    return place


@pytest.fixture
def place(template, tmp_path) -> Place:
    "Finished searches; there is no champion yet."
    return template.copy_to(tmp_path / "store")


@pytest.fixture(scope="session")
def promoted_template(template, tmp_path_factory) -> Place:
    place = template.copy_to(tmp_path_factory.mktemp("promoted") / "store")
    place.promote("first")
    return place


@pytest.fixture
def promoted(promoted_template, tmp_path) -> Place:
    "The same, with the first one as champion: 300 refused payers, 500 € per client."
    return promoted_template.copy_to(tmp_path / "store")
