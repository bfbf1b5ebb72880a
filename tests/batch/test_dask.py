"""The same batch on many machines: the same bits, whichever machine fails on the way."""

import os
import pickle
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import dask
import fsspec
import pandas as pd
import pyarrow.parquet as pq
import pytest
from distributed import LocalCluster, get_worker
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from portfolios import DIES, SEGMENT, make_champion, read_answers

from rumos_bank.data import columnar, places
from rumos_bank.data.columnar import plan_chunks
from rumos_bank.data.contract import CLIENT_COLUMNS
from rumos_bank.data.places import Plan, Span
from rumos_bank.data.readers import open_source
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.errors import DataError, PackageError, ParameterError, StoreError
from rumos_bank.serving import cluster
from rumos_bank.serving.batch import Done, predict_file
from rumos_bank.serving.case_parts import list_parts, read_cases
from rumos_bank.serving.cluster import find_difference, find_fault, list_versions, run_on_dask
from rumos_bank.serving.decision_log import DecisionLog, read_log


@pytest.fixture(scope="module")
def machines():
    "A scheduler and two workers of one thread each, in processes of their own."
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as made:
        yield made


@pytest.fixture
def chunks_of_500(monkeypatch):
    for module in (places, columnar):
        monkeypatch.setattr(module, "CHUNK_ROWS", 500)


@pytest.fixture
def clients(tmp_path) -> Path:
    "Four thousand clients in a folder of two files with groups of 700 rows; two of them cannot be decided."
    frame = make_synthetic_clients(4000, seed=6)
    frame.loc[[9, 2600], "PAY_0"] = 44
    frame["branch"] = pd.Categorical([f"{number * 7 % 11}" for number in range(4000)])
    (tmp_path / "in").mkdir()
    for number, rows in enumerate((frame[:1500], frame[1500:])):
        rows.to_parquet(tmp_path / "in" / f"{number}.parquet", index=False, row_group_size=700)
    return tmp_path / "in"


def contents(*folders: Path) -> dict[str, bytes]:
    "Every part of these folders."
    return {
        f"{number}/{path.name}": path.read_bytes()
        for number, folder in enumerate(folders)
        for path in folder.glob("*.parquet")
    }


def test_a_cluster_gives_the_bits_of_one_machine(
    machines, champion, settings, elsewhere, tmp_path, clients, chunks_of_500
):
    asked = {"champion": champion, "segment": SEGMENT, "references": "branch"}
    near = predict_file(clients, tmp_path / "near.parquet", elsewhere("near"), **asked)
    reports = []
    far = predict_file(
        clients,
        tmp_path / "far.parquet",
        settings,
        **asked,
        engine=run_on_dask(machines.scheduler_address),
        notify=lambda *news: reports.append(news[:2]),
    )
    assert contents(far.output, far.rejects) == contents(near.output, near.rejects)
    assert len(contents(far.output)) == 8 and len(contents(far.rejects)) == 2
    same = replace(near, output=far.output, rejects=far.rejects, seconds=far.seconds, entry=far.entry)
    assert far == same and (far.scored, far.rejected) == (3998, 2)
    assert read_answers(far.rejects)["input_row"].tolist() == [10, 2601]
    assert reports[-1] == (4000, 4000) and len(reports) == 8
    (one,), (other,) = (read_log(each.audit_path) for each in (elsewhere("near"), settings))
    assert one["output"]["sha256"] == other["output"]["sha256"]
    assert (one["id"], other["id"]) == (near.entry, far.entry)
    assert list(one["parts"]) == list(other["parts"]) and len(one["parts"]) == 16
    assert_each_case_is_on_record_once(far, settings)


def test_a_cluster_keeps_references_as_they_were_given_if_the_bank_wants_it(
    machines, champion, settings, tmp_path, clients, chunks_of_500
):
    clear = settings.model_copy(
        update={"audit": settings.audit.model_copy(update={"clear_references": True})}
    )
    engine = run_on_dask(machines.scheduler_address)
    done = predict_file(
        clients, tmp_path / "far.parquet", clear, champion=champion, references="branch", engine=engine
    )
    answers, parts = read_answers(done.output), list_parts(clear.audit_path / done.segment)
    known = {case["id"]: case["reference_text"] for part in parts for case in read_cases(part)}
    assert known == dict(zip(answers["decision_id"], answers["branch"])) and len(known) == 3998


def assert_each_case_is_on_record_once(done, settings) -> None:
    "The ids of the output are those of the record; each is found, with its own values."
    answers, log = read_answers(done.output), DecisionLog(settings)
    folder = settings.audit_path / done.segment
    on_record = [case for part in list_parts(folder) for case in read_cases(part)]
    assert sorted(case["id"] for case in on_record) == sorted(answers["decision_id"])
    assert {path.suffix for path in folder.iterdir()} <= {".parquet", ".refs"}
    for _, row in answers.iloc[:: len(answers) // 20].iterrows():
        case = log.find(row["decision_id"])
        assert case["input"]["BILL_AMT1"] == row["BILL_AMT1"]
        assert case["answer"]["probability"] == row["probability"]


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(
    champion, settings, elsewhere, tmp_path, clients, chunks_of_500, monkeypatch
):
    monkeypatch.setattr(cluster, "_do", die_once)
    monkeypatch.setenv("RUMOS_TEST_TALLY", str(tmp_path))
    asked = {"champion": champion, "segment": SEGMENT}
    near = predict_file(clients, tmp_path / "near.parquet", elsewhere("near"), **asked)
    far = predict_file(clients, tmp_path / "far.parquet", settings, **asked, engine=run_on_dask(workers=2))
    assert contents(far.output, far.rejects) == contents(near.output, near.rejects)
    lines = (far.output / "_manifest.jsonl").read_text().splitlines()
    assert len(lines) == 2 + 8 + 1 and not list(far.output.glob(".*.tmp"))
    assert_each_case_is_on_record_once(far, settings)
    begun = Counter((tmp_path / "begun").read_text().split())
    assert begun["3"] == 2 and set(begun) == set("01234567")


def die_once(name: str, plan: Plan) -> Done:
    "Chunk 3 is decided and written, and then its worker dies before it can report."
    tally = Path(os.environ["RUMOS_TEST_TALLY"]) / "begun"
    seen = tally.read_text().split() if tally.exists() else []
    with tally.open("a") as file:
        file.write(f"{plan.number}\n")
    done = get_worker().plugins[name].kit
    done = done.work(done.read(plan))
    if plan.number == 3 and "3" not in seen:
        os.kill(os.getpid(), signal.SIGKILL)
    return done


def test_after_the_client_was_killed_the_next_run_goes_on_with_or_without_a_cluster(
    machines, champion, settings, elsewhere, tmp_path, clients, chunks_of_500
):
    environ = os.environ | {"RUMOS_STORE_PATH": str(tmp_path / "store")}
    (tmp_path / "champion").write_bytes(pickle.dumps(champion))
    command = [sys.executable, "-c", DIES, str(tmp_path), "in", machines.scheduler_address]
    died = subprocess.run(command, env=environ, check=False)
    assert died.returncode == -signal.SIGKILL
    told = read_answers(tmp_path / "out.parquet")["decision_id"]
    assert len(told) >= 1500 and all(DecisionLog(settings).find(each)["id"] == each for each in told[::50])
    engine = run_on_dask(machines.scheduler_address)
    first = predict_file(clients, tmp_path / "out.parquet", settings, champion=champion, engine=engine)
    assert (first.read, first.resumed) == (4000, 2000)
    assert set(told) <= set(read_answers(first.output)["decision_id"])
    sorted(first.output.glob("part-*"))[5].unlink()
    done = predict_file(clients, first.output, settings, champion=champion)
    assert (done.read, done.resumed) == (4000, 3500)
    assert_each_case_is_on_record_once(done, settings)
    assert done.entry == first.entry and len(list(read_log(settings.audit_path))) == 1
    same = {"champion": champion, "segment": done.segment}
    clean = predict_file(clients, tmp_path / "clean.parquet", elsewhere("clean"), **same)
    assert contents(done.output, done.rejects) == contents(clean.output, clean.rejects)
    again = predict_file(
        clients, done.output, settings, champion=champion, engine=run_on_dask("tcp://127.0.0.1:1")
    )
    assert again == replace(done, resumed=4000, seconds=0)  # nothing is left to be done: no machine is asked


def test_a_run_that_is_resumed_with_another_log_decides_again(
    champion, settings, elsewhere, tmp_path, clients, chunks_of_500
):
    first = predict_file(clients, tmp_path / "out.parquet", settings, champion=champion)
    other = elsewhere("other")
    again = predict_file(clients, tmp_path / "out.parquet", other, champion=champion, engine=run_on_dask())
    assert (again.resumed, again.segment, again.read) == (0, first.segment, 4000)
    for each in (settings, other):
        assert_each_case_is_on_record_once(again, each)


def test_no_disk_is_shared_but_input_and_output(
    champion, settings, elsewhere, tmp_path, clients, chunks_of_500
):
    asked = {"champion": champion, "segment": SEGMENT}
    near = predict_file(clients, tmp_path / "near.parquet", elsewhere("near"), **asked)
    memory = fsspec.filesystem("memory")
    for path in clients.iterdir():
        memory.pipe_file(f"/bank/portfolio/{path.name}", path.read_bytes())
    with LocalCluster(
        n_workers=2, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as made:
        far = predict_file(
            "memory://bank/portfolio",
            "memory://bank/out.parquet",
            settings,
            **asked,
            engine=run_on_dask(made.scheduler_address),
        )
    assert (far.output, far.rejects) == ("memory://bank/out.parquet", "memory://bank/out.rejects.parquet")
    found = {
        f"{number}/{path.rpartition('/')[2]}": memory.cat_file(path)
        for number, folder in enumerate(("/bank/out.parquet", "/bank/out.rejects.parquet"))
        for path in memory.find(folder)
        if path.endswith(".parquet")
    }
    assert found == contents(near.output, near.rejects)
    assert not [path for path in memory.find("/bank") if path.endswith(".tmp")]
    assert len(list_parts(settings.audit_path / SEGMENT)) == 8
    again = predict_file("memory://bank/portfolio", far.output, settings, champion=champion)
    assert again.resumed == 4000 and again.entry == far.entry
    memory.pipe_file("/bank/portfolio/0.parquet", memory.cat_file("/bank/portfolio/1.parquet"))
    anew = predict_file("memory://bank/portfolio", far.output, settings, champion=champion)
    assert anew.resumed == 0 and anew.read == 5000
    (entry,) = [each for each in read_log(settings.audit_path) if each["id"] == far.entry]
    assert entry["input"]["path"] == "memory://bank/portfolio"


# Any chunk can be read by itself


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=4), st.integers(1, 12)
)
@effort(deadline=None, max_examples=50)
def test_plans_cut_where_the_walk_cuts(files, chunk_rows):
    groups = [
        Span(str(file), number, 0, rows, {})
        for file, sizes in enumerate(files)
        for number, rows in enumerate(sizes)
    ]
    plans = list(plan_chunks(groups, chunk_rows))
    rows = [
        (span.path, span.group, row)
        for plan in plans
        for span in plan.spans
        for row in range(span.start, span.start + span.rows)
    ]
    assert rows == [(group.path, group.group, row) for group in groups for row in range(group.rows)]
    assert [plan.first for plan in plans] == list(range(1, len(rows) + 1, chunk_rows))
    assert all(plan.rows == chunk_rows for plan in plans[:-1]) and plans[-1].rows <= chunk_rows


@pytest.mark.parametrize("chunk_rows", [300, 700, 1000, 5000])
def test_a_chunk_by_plan_is_the_chunk_of_the_walk(clients, chunk_rows, monkeypatch):
    for module in (places, columnar):
        monkeypatch.setattr(module, "CHUNK_ROWS", chunk_rows)
    month = clients / "month=10"
    month.mkdir()
    (clients / "1.parquet").rename(month / "1.parquet")
    (clients / "0.parquet").rename(clients / "month=10" / "0.parquet")
    source = open_source(clients)
    walked, planned = list(source.chunks()), [source.read(plan) for plan in source.plan()]
    assert len(walked) == len(planned) and "month" in source.columns
    for one, other in zip(walked, planned):
        assert one.number == other.number and one.rows.tolist() == other.rows.tolist()
        assert one.table == other.table


# What a worker is given


def test_a_champion_travels_as_its_files(champion):
    there = pickle.loads(pickle.dumps(champion))
    clients = make_synthetic_clients(50, seed=1)[list(CLIENT_COLUMNS)]
    assert (there.version, there.digest, there.about) == (champion.version, champion.digest, champion.about)
    assert (there.predict_proba(clients) == champion.predict_proba(clients)).all()


def test_a_champion_that_was_changed_on_the_way_is_refused(champion):
    version, line, content, cached = make_champion(3, seed=3).__reduce__()[1]
    name = sorted(content)[0]
    changed = content | {name: content[name][:-1] + b"?"}
    make, _ = champion.__reduce__()
    with pytest.raises(StoreError, match=f"{name} of the model is not what was recorded"):
        make(version, line, changed, cached)


# What cannot be done is refused in a sentence


def test_a_scheduler_that_does_not_answer_is_an_error(champion, settings, tmp_path, clients, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 1)
    for address in ("tcp://127.0.0.1:1", "127.0.0.1", "ftp://127.0.0.1:1"):
        with pytest.raises(ParameterError, match=f"no Dask scheduler answers at '{address}'.*leave it out"):
            predict_file(
                clients,
                tmp_path / "out.parquet",
                settings,
                champion=champion,
                engine=run_on_dask(address),
            )
    assert not settings.audit_path.exists()


def test_a_cluster_without_workers_is_an_error(champion, settings, tmp_path, clients, monkeypatch):
    monkeypatch.setattr(cluster, "WORKER_SECONDS", 0.5)
    with (
        LocalCluster(
            n_workers=0, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as made,
        pytest.raises(ParameterError, match="has no workers: start some with `dask worker"),
    ):
        predict_file(
            clients,
            tmp_path / "out.parquet",
            settings,
            champion=champion,
            engine=run_on_dask(made.scheduler_address),
        )


def test_a_cluster_that_lost_its_workers_is_an_error(
    champion, settings, tmp_path, clients, chunks_of_500, monkeypatch
):
    monkeypatch.setattr(cluster, "WORKER_SECONDS", 1)
    with LocalCluster(
        n_workers=1, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as made:
        engine = run_on_dask(made.scheduler_address)
        with pytest.raises(DataError, match=r"no worker for 1 seconds.*finished parts are kept"):
            predict_file(
                clients,
                tmp_path / "out.parquet",
                settings,
                champion=champion,
                engine=engine,
                notify=lambda *_: made.scale(0) or made.sync(made._correct_state),
            )
    again = predict_file(clients, tmp_path / "out.parquet", settings, champion=champion)
    assert again.read == 4000 and again.resumed >= 500


def test_a_chunk_that_kills_every_worker_ends_the_run(
    champion, settings, tmp_path, clients, chunks_of_500, monkeypatch
):
    monkeypatch.setattr(cluster, "_do", die_always)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        pytest.raises(DataError, match=r"the cluster was lost before .*out\.parquet was finished"),
    ):
        predict_file(
            clients,
            tmp_path / "out.parquet",
            settings,
            champion=champion,
            engine=run_on_dask(workers=1),
        )
    assert not settings.audit_path.exists()


def die_always(name: str, plan: Plan) -> Done:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_worker_of_another_version_is_refused(machines, champion, settings, tmp_path, clients, monkeypatch):
    here = list_versions() | {"lightgbm": "3.0.0"}
    monkeypatch.setattr(cluster, "list_versions", lambda: here)
    with pytest.raises(ParameterError, match=r"the worker tcp://\S+ has lightgbm \S+ instead of 3\.0\.0"):
        predict_file(
            clients,
            tmp_path / "out.parquet",
            settings,
            champion=champion,
            engine=run_on_dask(machines.scheduler_address),
        )
    assert not list((tmp_path / "out.parquet").glob("part-*"))


def test_another_folder_of_the_same_name_is_noticed(champion, settings, tmp_path, clients, monkeypatch):
    kits = []

    def keep(client: object, kit: cluster.Kit) -> None:
        kits.append(kit)
        raise RuntimeError

    monkeypatch.setattr(cluster, "_equip", keep)
    monkeypatch.setattr(cluster, "_connect", lambda *_: memoryview(b""))
    with pytest.raises(RuntimeError):
        predict_file(clients, tmp_path / "out.parquet", settings, champion=champion, engine=run_on_dask())
    (kit,) = kits
    assert find_fault(kit) == ""
    (tmp_path / "out.parquet" / "_manifest.jsonl").write_text("{}\n")
    assert "does not see the output" in find_fault(kit)
    (clients / "0.parquet").unlink()
    assert "does not see the input" in find_fault(kit)
    assert find_difference({"numpy": "2"}, {}) == "numpy None instead of 2"


@pytest.mark.parametrize(("source", "target"), [("in.csv", "out.parquet"), ("in.parquet", "out.csv")])
def test_only_parquet_is_shared_out(source, target, champion, settings, tmp_path, portfolio, write):
    write(portfolio, tmp_path / source)
    with pytest.raises(ParameterError, match="a cluster reads Parquet and writes Parquet"):
        predict_file(tmp_path / source, tmp_path / target, settings, champion=champion, engine=run_on_dask())
    assert not (tmp_path / target).exists()


def test_without_dask_the_error_names_what_to_install(champion, settings, tmp_path, clients, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(PackageError, match=r'pip install "rumos_bank\[cluster\]"'):
        predict_file(clients, tmp_path / "out.parquet", settings, champion=champion, engine=run_on_dask())


def test_what_another_batch_wrote_meanwhile_is_noticed(champion, settings, tmp_path, clients):
    memory = fsspec.filesystem("memory")
    path = "/meanwhile.parquet/_manifest.jsonl"
    with pytest.raises(DataError, match=r"another batch wrote to memory://meanwhile\.parquet"):
        predict_file(
            clients,
            "memory://meanwhile.parquet",
            settings,
            champion=champion,
            notify=lambda *_: memory.pipe_file(path, b"{}\n" + memory.cat_file(path)),
        )
    assert not list(read_log(settings.audit_path))


def test_an_input_that_changes_in_another_store_is_noticed(champion, settings, clients):
    memory = fsspec.filesystem("memory")
    content = (clients / "0.parquet").read_bytes()
    memory.pipe_file("/changing.parquet", content)
    with pytest.raises(DataError, match="was changed while it was read"):
        predict_file(
            "memory://changing.parquet",
            "memory://changed.parquet",
            settings,
            champion=champion,
            notify=lambda *_: memory.pipe_file("/changing.parquet", content),
        )


def test_addresses_hold_parquet_only(champion, settings, tmp_path, clients):
    fsspec.filesystem("memory").pipe_file("/a.csv", b"")
    for source, target in (("memory://a.csv", "memory://b.parquet"), (clients, "memory://b.xlsx")):
        with pytest.raises(DataError, match="must be Parquet"):
            predict_file(source, target, settings, champion=champion)
    with pytest.raises(DataError, match="memory://nothing does not exist"):
        predict_file("memory://nothing", "memory://b.parquet", settings, champion=champion)
    with pytest.raises(ParameterError, match="install fsspec and its package"):
        predict_file("nowhere://a", "memory://b.parquet", settings, champion=champion)
    with pytest.raises(ParameterError, match="must lie apart"):
        predict_file("memory://a", "memory://a/b.parquet", settings, champion=champion)
    frame = pd.read_parquet(clients / "0.parquet")
    pq.write_table(pq.read_table(clients / "0.parquet"), tmp_path / "one.parquet")
    done = predict_file(f"file://{tmp_path}/one.parquet", tmp_path / "o.parquet", settings, champion=champion)
    assert done.read == len(frame)
