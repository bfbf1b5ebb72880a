"What the comparison of benchmarks with the record reports; the measurements themselves are run by hand."

import json
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import bench
from ratios import Ratio

WAS = [
    Ratio("a", "b", 1, 2, "s"),
    Ratio("share", "ours", 1, 2, "s", steady=False),
    Ratio("gone", "b", 1, 1, "s"),
]
NOW = [
    Ratio("a", "b", 2, 2, "s"),
    Ratio("share", "ours", 2, 2, "s", steady=False),
    Ratio("new", "b", 3, 1, "s", aim=2),
]


@pytest.fixture
def compared(tmp_path, monkeypatch, capsys):
    "What is reported when `decision` is measured with this champion."
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setattr(bench, "SCRIPTS", {"decision": ()})
    one = {"champion": "LightGBM, version 1", "brief": [asdict(each) for each in WAS]}
    (tmp_path / "benchmarks.json").write_text(json.dumps({"decision": one}))

    def compare(champion: str, now: list[Ratio]) -> list[str]:
        monkeypatch.setattr(bench, "a_champion", lambda: nullcontext(champion))
        monkeypatch.setattr(bench, "run_script", lambda *_, **__: now)
        bench.compare(tmp_path)
        return capsys.readouterr().out.splitlines()

    return compare


def test_a_lost_ratio_a_missed_aim_and_one_without_a_partner_are_distinguished(compared):
    lost, missed, alone, summary = compared("LightGBM, version 1", NOW)
    assert lost.startswith("WARNING: a / b: 1 ") and lost.endswith("on record 0.5")
    assert missed.startswith("WARNING: new / b") and missed.endswith("the aim is missed")
    assert alone.startswith("new / b") and alone.endswith("not on record")
    assert summary == "1 of 1 ratios lost more than 20% against the record; 1 missed their aim"


def test_the_same_ratios_of_another_champion_are_reported_as_anothers(compared):
    other, summary = compared("SVC, version 2", WAS)
    assert other == "decision: the champion is SVC, version 2, on record LightGBM, version 1"
    assert summary.startswith("0 of 2 ratios")
