"The committed record: the champion's plots and numbers, from the newest full run on real data only."

import json

import pytest

from rumos_bank.ground.errors import PipelineError
from rumos_bank.operations.report import record_latest


@pytest.fixture
def reported(promoted, tmp_path):
    "The settings of a store with a champion and the report of the run that promoted it."
    settings = promoted.settings.model_copy(
        update={"store": promoted.settings.store.model_copy(update={"reports": tmp_path / "reports"})}
    )
    report = settings.reports_path / "latest"
    report.mkdir(parents=True)
    run = promoted.runs["first"]
    facts = {
        "pipeline_run": "one",
        "profile": "full",
        "twin": False,
        "failed": [],
        "source": "/data/clients.csv",
    }
    (report / "pipeline.json").write_text(json.dumps(facts | {"chosen_run": run, "champion_run": run}))
    (report / "leaderboard.csv").write_text("family,cv_cost\nDecision_tree,500\n")
    (report / "leaderboard.html").write_text("<body><p>500 €</p><h2>Notebooks</h2>/data</body>")
    return settings


def test_the_record_holds_the_plots_the_leaderboard_and_the_specification(reported):
    record = record_latest(reported)
    kept = {path.name for path in record.iterdir()}
    assert {"roc.png", "leaderboard.csv", "leaderboard.html", "record.json", "canary.json"} <= kept
    assert (record / "roc.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((record / "record.json").read_text())["source"] == "clients.csv", (
        "no place of this machine"
    )
    assert "Notebooks" not in (record / "leaderboard.html").read_text()


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"twin": True}, "not a full run on real data"),
        ({"profile": "quick"}, "not a full run on real data"),
        ({"failed": ["judge"]}, "not a full run on real data"),
        ({"chosen_run": "another"}, "is not the champion"),
    ],
)
def test_another_run_is_not_recorded(reported, facts, why):
    file = reported.reports_path / "latest" / "pipeline.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))
    with pytest.raises(PipelineError, match=why):
        record_latest(reported)
    assert not (reported.reports_path / "record").exists()
