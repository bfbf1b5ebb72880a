"The reasons of refused clients as columns of a file: those of `Champion.explain`."

import numpy as np
import pandas as pd
import pytest
from portfolios import SEGMENT, make_champion, read_answers

from rumos_bank.data import columnar, places
from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.errors import DataError
from rumos_bank.model.explain import GROUPS, Reason, write_changes, write_reasons
from rumos_bank.serving import batch
from rumos_bank.serving.batch import EXPLAINED, explain_refused, predict_file
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.cluster import run_on_dask


@pytest.fixture(scope="module", params=["LightGBM", "logistic_reg", "Decision_tree"])
def explained(request) -> Champion:
    return make_champion(3, seed=3, name=request.param)


def expect(champion: Champion, client: pd.Series) -> list[str]:
    "The sentences of one refused client, reasons and changes, as the desk shows them."
    explanation = champion.explain({name: int(client[name]) for name in CLIENT_COLUMNS})
    assert explanation.refused
    reasons, changes = write_reasons(explanation.reasons), write_changes(explanation.changes)
    assert [*reasons, *changes] == explanation.texts()[2:-2]
    reasons = [*reasons[:3], " ".join(reasons[3:])] if len(reasons) > 4 else reasons
    return [*reasons, *[""] * (4 - len(reasons)), *changes, *[""] * (4 - len(changes))]


def test_two_hundred_refused_clients_get_the_reasons_that_each_would_get_alone(explained):
    clients = make_synthetic_clients(2000, seed=11)
    refused = clients[explained.decide(clients)["prediction"] == 1][:200]
    assert len(refused) == 200
    columns = explain_refused(explained, {name: refused[name].to_numpy() for name in explained.seen})
    for place, (_, client) in enumerate(refused.iterrows()):
        assert [columns[name][place] or "" for name in EXPLAINED] == expect(explained, client)


def test_a_fifth_large_reason_stands_in_the_last_column(champion, monkeypatch):
    five = tuple(Reason(words, 9.0 - place, 0.3, 0.1) for place, words in enumerate(list(GROUPS)[:5]))
    monkeypatch.setattr(batch, "explain_refusals", lambda model, rows: [(five, ())] * len(rows))
    one = {name: np.array([EXAMPLE_CLIENT[name]]) for name in champion.seen}
    columns = explain_refused(champion, one, np.array([True]))
    assert [columns[f"reason_{n}"][0] for n in (1, 2, 3)] == [str(each) for each in five[:3]]
    assert columns["reason_4"][0] == f"{five[3]} {five[4]}"


@pytest.mark.parametrize("ending", [".csv", ".xlsx", ".parquet"])
def test_a_file_has_reasons_for_the_refused_and_none_for_the_accepted(
    ending, champion, settings, tmp_path, portfolio, write, monkeypatch
):
    for module in (places, columnar):
        monkeypatch.setattr(module, "CHUNK_ROWS", 20)
    source, said = write(portfolio, tmp_path / "in.parquet"), []
    done = predict_file(
        source, tmp_path / f"out{ending}", settings, champion=champion, reasons=True, announce=said.append
    )
    answers = read_answers(done.output)
    assert list(answers.columns)[-9:] == [*EXPLAINED, "decision_id"]
    for place, row in answers.iterrows():
        told = ["" if pd.isna(row[name]) else row[name] for name in EXPLAINED]
        assert told == (expect(champion, portfolio.loc[place]) if row["prediction"] else [""] * 8)
    assert 0 < answers["reason_1"].notna().sum() == done.refused
    (sentence,) = said
    assert sentence.startswith("reasons for some ") and " refused clients take about " in sentence


def test_the_time_is_said_before_the_work(champion, settings, tmp_path, portfolio, write):
    source = write(portfolio, tmp_path / "in.parquet")
    asked = {"champion": champion, "dry_run": True}
    assert "refused clients take about" in str(
        predict_file(source, tmp_path / "o.csv", settings, **asked, reasons=True)
    )
    assert "reasons" not in str(predict_file(source, tmp_path / "o.csv", settings, **asked))
    good = write(
        portfolio.assign(**dict.fromkeys(["PAY_0", "PAY_2", "PAY_3"], -1)), tmp_path / "good.parquet"
    )
    if not (champion.decide(pd.read_parquet(good))["prediction"] == 1).any():
        planned = predict_file(good, tmp_path / "o.csv", settings, **asked, reasons=True)
        assert "of the first clients none is refused" in str(planned)


def test_an_output_with_reasons_is_replaced_by_the_next_run(
    champion, other_champion, settings, tmp_path, portfolio, write
):
    source = write(portfolio, tmp_path / "in.csv")
    first = predict_file(source, tmp_path / "one.csv", settings, champion=champion, reasons=True)
    plain = predict_file(first.output, tmp_path / "two.csv", settings, champion=other_champion)
    assert list(read_answers(plain.output)) == [
        each for each in read_answers(first.output) if each not in EXPLAINED
    ]
    again = predict_file(
        first.output, tmp_path / "three.csv", settings, champion=other_champion, reasons=True
    )
    assert list(read_answers(again.output)) == list(read_answers(first.output))
    own = write(portfolio.assign(reason_1="of the bank"), tmp_path / "own.csv")
    kept = predict_file(own, tmp_path / "four.csv", settings, champion=champion)
    assert set(read_answers(kept.output)["reason_1"]) == {"of the bank"}
    with pytest.raises(DataError, match=r"already has columns.*reason_1"):
        predict_file(own, tmp_path / "five.csv", settings, champion=champion, reasons=True)


def test_an_output_from_before_there_were_ids_is_replaced(champion, settings, tmp_path, portfolio, write):
    source = write(portfolio, tmp_path / "in.csv")
    first = predict_file(source, tmp_path / "one.csv", settings, champion=champion)
    old = write(read_answers(first.output).drop(columns="decision_id"), tmp_path / "old.csv")
    again = predict_file(old, tmp_path / "two.csv", settings, champion=champion)
    assert list(read_answers(again.output)) == list(read_answers(first.output))


def test_reasons_are_the_same_on_a_cluster_and_a_part_is_taken_up_with_them(
    champion, elsewhere, tmp_path, write, monkeypatch
):
    for module in (places, columnar):
        monkeypatch.setattr(module, "CHUNK_ROWS", 100)
    source = write(make_synthetic_clients(300, seed=6), tmp_path / "in.parquet")
    asked = {"champion": champion, "segment": SEGMENT, "reasons": True}
    near = predict_file(source, tmp_path / "near.parquet", elsewhere("near"), **asked)
    far = predict_file(
        source, tmp_path / "far.parquet", elsewhere("far"), **asked, engine=run_on_dask(workers=1)
    )
    parts = [{path.name: path.read_bytes() for path in done.output.glob("part-*")} for done in (near, far)]
    assert parts[0] == parts[1] and len(parts[0]) == 3
    without = predict_file(source, near.output, elsewhere("near"), champion=champion)
    assert without.resumed == 0 and "reason_1" not in read_answers(near.output)
