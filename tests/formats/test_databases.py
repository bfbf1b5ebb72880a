"Delta, Iceberg, PostgreSQL, SQLite and DuckDB: tables that other programs wrote, and results that go back into one."

import datetime
import json
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import deltalake
import duckdb
import fsspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from databases import PASSWORD, USER, find_programs, run_postgres
from deltalake import DeltaTable, write_deltalake
from lacking import skip_without
from processes import clean_environment
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.types import StringType

from rumos_bank.data import databases
from rumos_bank.data.databases import (
    RowsDigest,
    TableWriter,
    is_delta,
    is_iceberg,
    open_database,
    open_delta,
    open_iceberg,
)
from rumos_bank.data.places import Held, Selection
from rumos_bank.data.readers import open_source
from rumos_bank.ground.errors import DataError, PackageError

ROOT = Path(__file__).parents[2]


def read_all(source) -> pa.Table:
    "All chunks as one table; their numbers and rows must follow each other."
    chunks = list(source.chunks())
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    rows = np.concatenate([chunk.rows for chunk in chunks]) if chunks else []
    assert list(rows) == list(range(1, len(rows) + 1))
    return pa.concat_tables(chunk.table for chunk in chunks)


def clients(first: int, last: int, **more) -> pa.Table:
    ids = range(first, last)
    return pa.table(
        {"ID": pa.array(ids, pa.int64()), "AGE": pa.array([20 + i % 50 for i in ids], pa.int64()), **more}
    )


def the_error(call, *words) -> str:
    with pytest.raises(DataError) as raised:
        call(*words)
    text = str(raised.value)
    assert "\n" not in text and (raised.value.__context__ is None or raised.value.__suppress_context__)
    return text


# Delta Lake


@pytest.fixture
def delta(tmp_path):
    "100 clients by deltalake and polars; 10 deleted, 20 changed, 5 merged; partitions; a column that came later."
    place = tmp_path / "clients"
    month = pa.array(["2026 1%ü"] * 25 + [None] * 25)
    write_deltalake(place, clients(0, 50, month=month), partition_by=["month"])
    pl.from_arrow(clients(50, 100, month=month)).write_delta(str(place), mode="append")
    DeltaTable(place).delete("ID < 10")
    DeltaTable(place).update({"AGE": "99"}, predicate="ID >= 80")
    source = clients(95, 105, month=pa.array(["2026-02"] * 10))
    merge = DeltaTable(place).merge(source, "old.ID = new.ID", source_alias="new", target_alias="old")
    merge.when_matched_update({"AGE": "new.AGE"}).when_not_matched_insert_all().execute()
    write_deltalake(
        place,
        clients(200, 203, month=pa.array(["2026-02"] * 3), branch=pa.array(["007"] * 3)),
        mode="append",
        schema_mode="merge",
    )
    return place


def by_scan(place) -> list[dict]:
    "The same table by deltalake's own engine (DataFusion), which shares no code with ours."
    return sorted(pa.table(DeltaTable(place).scan().read_all()).to_pylist(), key=lambda row: row["ID"])


def test_delta_gives_live_rows_once(delta):
    source = open_delta(delta, Selection(), ["AGE"])
    table = read_all(source)
    assert sorted(table["ID"].to_pylist()) == [*range(10, 105), 200, 201, 202]
    assert sorted(table.to_pylist(), key=lambda row: row["ID"]) == by_scan(delta)
    assert source.rows == len(table) == DeltaTable(delta).count() == 98
    assert sum(pq.read_metadata(path).num_rows for path in delta.rglob("*.parquet")) > 98  # as a heap
    ages = dict(zip(table["ID"].to_pylist(), source.fields.read(table, "AGE"), strict=True))
    assert ages[94] == 99 and ages[95] == 20 + 95 % 50
    assert table["branch"].null_count == 95 and table["month"].null_count == 50
    assert source.columns == tuple(table.column_names) == ("ID", "AGE", "month", "branch")
    assert (
        source.describe() == f"read as Delta Lake; version {DeltaTable(delta).version()} of the Delta table"
    )


def test_delta_stays_right_after_compaction_and_vacuum(delta):
    before = by_scan(delta)
    first = open_delta(delta, Selection(), [])
    DeltaTable(delta).optimize.compact()
    after = open_delta(delta, Selection(), [])
    assert sorted(read_all(after).to_pylist(), key=lambda row: row["ID"]) == before
    assert after.digest() != first.digest() and len(first.digest()) == 64
    assert (
        sorted(read_all(first).to_pylist(), key=lambda row: row["ID"]) == before
    )  # its version is still there
    DeltaTable(delta).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    assert sorted(read_all(after).to_pylist(), key=lambda row: row["ID"]) == before
    error = the_error(read_all, first)
    assert "not there" in error and "version" in error


def test_delta_has_one_order_and_identity_for_each_version(delta):
    one, two = open_delta(delta, Selection(), []), open_delta(delta, Selection(), [])
    assert one.digest() == two.digest()
    assert read_all(one).equals(read_all(two)) and read_all(one).equals(read_all(one))
    DeltaTable(delta).create_checkpoint()
    assert read_all(open_delta(delta, Selection(), [])).equals(read_all(one))
    write_deltalake(delta, clients(300, 301, month=pa.array(["x"])), mode="append", schema_mode="merge")
    assert len(read_all(one)) == 98  # a version does not change under its reader
    assert open_delta(delta, Selection(), []).digest() != one.digest()


def test_no_piece_of_a_delta_table_is_a_heap(tmp_path, monkeypatch):
    place = tmp_path / "lake" / "clients"
    write_deltalake(place, clients(0, 10, month=pa.array(["a", "b"] * 5)), partition_by=["month"])
    DeltaTable(place).delete("ID < 3")
    part = next(iter(place.rglob("*.parquet")))
    (tmp_path / "link.parquet").symlink_to(part)
    pieces = (place.parent, part, part.parent, place / "_delta_log", tmp_path / "link.parquet", tmp_path)
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "lake"), "/bank/lake", recursive=True)
    inside = part.relative_to(tmp_path)
    for piece in (*pieces, "memory://bank/lake", f"memory://bank/{inside}", f"memory://bank/{inside.parent}"):
        root = f"memory://bank/{place.relative_to(tmp_path)}" if isinstance(piece, str) else place
        assert f"{root} is a Delta table" in the_error(open_source, piece, ["AGE"])
        assert f"name {root} instead of {piece}" in the_error(open_source, piece, ["AGE"])
    memory.rm("/bank", recursive=True)
    monkeypatch.chdir(part.parent)
    assert "is a Delta table" in the_error(open_source, Path(part.name), ["AGE"])
    assert len(read_all(open_source(place, ["AGE"]))) == 7


def test_a_hudi_table_is_refused(tmp_path):
    (tmp_path / "clients" / ".hoodie").mkdir(parents=True)
    (tmp_path / "clients" / ".hoodie" / "hoodie.properties").touch()
    pq.write_table(clients(0, 3), tmp_path / "clients" / "a.parquet")
    for piece in (tmp_path, tmp_path / "clients", tmp_path / "clients" / "a.parquet"):
        assert "clients is a Hudi table" in the_error(open_source, piece, ["AGE"])


def test_delta_in_chunks_of_many_row_groups(tmp_path):
    properties = deltalake.WriterProperties(max_row_group_size=30_000)
    write_deltalake(tmp_path / "t", clients(0, 250_001), writer_properties=properties)
    source = open_delta(tmp_path / "t", Selection(), [])
    assert [len(chunk.table) for chunk in source.chunks()] == [100_000, 100_000, 50_001]
    assert read_all(source)["ID"].to_pylist() == list(range(250_001))


def test_delta_decimals_and_dates_are_exact(tmp_path):
    table = pa.table(
        {
            "ID": pa.array([4000001234567899017, 2]),
            "AGE": pa.array([Decimal(15), Decimal("23.5")], pa.decimal128(38, 9)),
            "day": pa.array([datetime.date(1, 1, 1), datetime.date(9999, 12, 31)]),
            "at": pa.array([datetime.datetime(2024, 1, 2, 3, 4, 5, 678901)] * 2, pa.timestamp("us", "UTC")),
        }
    )
    write_deltalake(tmp_path / "t", table)
    source = open_delta(tmp_path / "t", Selection(), ["AGE"])
    assert read_all(source).to_pylist() == table.to_pylist()
    assert source.fields.read(read_all(source), "AGE").tolist() == [15, 23.5]


@pytest.mark.parametrize("reader", [2, 3])
def test_delta_with_column_mapping(tmp_path, reader):
    "The files hold other names; deltalake's own data set gives empty columns for reader version 2."
    how = {"delta.columnMapping.mode": "name", "delta.minReaderVersion": "2", "delta.minWriterVersion": "5"}
    if reader == 3:
        how |= {"delta.minReaderVersion": "3", "delta.minWriterVersion": "7"}
    try:
        write_deltalake(
            tmp_path / "t",
            clients(0, 20, month=pa.array(["a", "b"] * 10)),
            configuration=how,
            partition_by=["month"],
        )
    except Exception as error:
        pytest.skip(f"deltalake {deltalake.__version__} does not write this: {error}")
    (file, *_) = (tmp_path / "t").rglob("*.parquet")
    assert "ID" not in pq.read_schema(file).names
    table = read_all(open_delta(tmp_path / "t", Selection(), ["AGE"]))
    assert table["AGE"].null_count == 0
    assert sorted(table.to_pylist(), key=lambda row: row["ID"]) == by_scan(tmp_path / "t")


Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def deletion_vector(rows: list[int]) -> dict:
    "Rows of a file as the protocol has them in the log: a RoaringBitmapArray, in Z85."
    bitmap = struct.pack("<IIHHI", 12346, 1, 0, len(rows) - 1, 16) + struct.pack(f"<{len(rows)}H", *rows)
    whole = struct.pack("<IQI", 1681511377, 1, 0) + bitmap
    padded = whole + b"\0" * (-len(whole) % 4)
    text = ""
    for (number,) in struct.iter_unpack(">I", padded):
        text += "".join(Z85[number // 85**place % 85] for place in (4, 3, 2, 1, 0))
    return {"storageType": "i", "pathOrInlineDv": text, "sizeInBytes": len(whole), "cardinality": len(rows)}


def test_delta_with_deletion_vectors(tmp_path):
    "As Databricks and Spark write them by default; the log is written by hand, from the protocol."
    place = tmp_path / "t"
    properties = deltalake.WriterProperties(max_row_group_size=30)
    write_deltalake(
        place,
        clients(0, 100),
        configuration={"delta.enableDeletionVectors": "true"},
        writer_properties=properties,
    )
    log = place / "_delta_log"
    (add,) = (
        line["add"]
        for line in map(json.loads, (log / f"{0:020}.json").read_text().splitlines())
        if "add" in line
    )
    remove = {"path": add["path"], "deletionTimestamp": 1, "dataChange": True}
    again = add | {"deletionVector": deletion_vector([0, 5, 31, 99])}
    (log / f"{1:020}.json").write_text(
        "".join(json.dumps(each) + "\n" for each in ({"remove": remove}, {"add": again}))
    )
    source = open_delta(place, Selection(), ["AGE"])
    table = read_all(source)
    assert sorted(table["ID"].to_pylist()) == [i for i in range(100) if i not in (0, 5, 31, 99)]
    assert sorted(table.to_pylist(), key=lambda row: row["ID"]) == by_scan(place)
    assert source.rows == len(table) == 96


def test_delta_with_an_unknown_feature_is_one_sentence(tmp_path):
    place = tmp_path / "t"
    write_deltalake(place, clients(0, 3), configuration={"delta.enableDeletionVectors": "true"})
    log = place / "_delta_log" / f"{0:020}.json"
    log.write_text(log.read_text().replace('"deletionVectors"', '"catalogOwned-preview"'))
    error = the_error(open_delta, place, Selection(), [])
    assert str(place) in error and "Delta" in error


def test_delta_that_is_none_is_one_sentence(tmp_path):
    (tmp_path / "t" / "_delta_log").mkdir(parents=True)
    assert is_delta(tmp_path / "t")
    assert "cannot be read as a Delta table" in the_error(open_delta, tmp_path / "t", Selection(), [])


def test_delta_without_rows(tmp_path):
    DeltaTable.create(tmp_path / "t", pa.schema([("ID", pa.int64()), ("AGE", pa.int64())]))
    source = open_delta(tmp_path / "t", Selection(), ["AGE"])
    assert source.columns == ("ID", "AGE") and source.rows == 0 and list(source.chunks()) == []


def test_what_is_a_lake(tmp_path):
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe("/bank/clients/_delta_log/00000000000000000000.json", b"{}")
    files.pipe("/bank/berg/metadata/00001-abc.metadata.json", b"{}")
    files.pipe("/bank/heap/part.parquet", b"")
    places = [
        "memory://bank/clients",
        "memory://bank/berg",
        "memory://bank/heap",
        "memory://bank/none",
        "memory://bank/clients/",
    ]
    assert [is_delta(each) for each in places] == [True, False, False, False, True]
    assert [is_iceberg(each) for each in places] == [False, True, False, False, False]
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "notes.json").write_text("{}")
    (tmp_path / "file.csv").write_text("AGE\n")
    for each in (tmp_path, tmp_path / "file.csv", tmp_path / "none", Held("a.csv", b""), "sqlite:///a.db"):
        assert not is_delta(each) and not is_iceberg(each)


def test_without_the_extra_one_sentence_names_it(tmp_path, monkeypatch):
    write_deltalake(tmp_path / "t", clients(0, 3))
    monkeypatch.setitem(sys.modules, "deltalake", None)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(PackageError, match=r"rumos_bank\[lakes\]"):
        open_delta(tmp_path / "t", Selection(), [])
    (tmp_path / "a.duckdb").write_bytes(b"")
    with pytest.raises(PackageError, match=r"rumos_bank\[sql\]"):
        open_database(f"duckdb:///{tmp_path}/a.duckdb", Selection(table="t"), [])


# Iceberg


@pytest.fixture
def lake(tmp_path):
    catalog = SqlCatalog("bank", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/lake")
    catalog.create_namespace("risk")
    return catalog


@pytest.fixture
def iceberg(lake):
    "100 clients in two files; 10 deleted, 20 overwritten, a column renamed and one added, 3 appended."
    table = lake.create_table("risk.clients", clients(0, 0).schema)
    table.append(clients(0, 50))
    table.append(clients(50, 100))
    table.delete("ID < 10")
    changed = clients(80, 100).set_column(1, "AGE", pa.array([99] * 20))
    table.overwrite(changed, overwrite_filter="ID >= 80")
    with table.update_schema() as update:
        update.add_column("branch", StringType())
    table.append(clients(200, 203, branch=pa.array(["007"] * 3)))
    return table


def folder_of(table) -> Path:
    return Path(urlsplit(table.location()).path)


def by_duckdb(table) -> list[dict]:
    "The live files as pyiceberg lists them, read by DuckDB."
    files = [urlsplit(task.file.file_path).path for task in table.scan().plan_files()]
    rows = duckdb.connect().sql(f"FROM read_parquet({files!r}, union_by_name = true) ORDER BY ID")
    return rows.to_arrow_table().to_pylist()


def test_iceberg_gives_live_rows_once(iceberg):
    place = folder_of(iceberg)
    assert is_iceberg(place) and not is_delta(place)
    source = open_iceberg(place, Selection(), ["AGE"])
    table = read_all(source)
    assert sorted(table["ID"].to_pylist()) == [*range(10, 100), 200, 201, 202]
    assert sorted(table.to_pylist(), key=lambda row: row["ID"]) == by_duckdb(iceberg)
    assert source.rows == len(table) == 93
    assert dict(zip(table["ID"].to_pylist(), source.fields.read(table, "AGE"), strict=True))[85] == 99
    assert sum(pq.read_metadata(path).num_rows for path in place.rglob("*.parquet")) > 93  # as a heap
    assert (
        source.describe()
        == f"read as Iceberg; snapshot {iceberg.metadata.current_snapshot_id} of the Iceberg table"
    )


def test_iceberg_has_one_order_and_identity_for_each_snapshot(iceberg):
    place = folder_of(iceberg)
    one, two = open_iceberg(place, Selection(), []), open_iceberg(place, Selection(), [])
    assert one.digest() == two.digest() and read_all(one).equals(read_all(two))
    iceberg.append(clients(300, 301, branch=pa.array(["1"])))
    assert len(read_all(one)) == 93
    assert open_iceberg(place, Selection(), []).digest() != one.digest()


def test_no_piece_of_an_iceberg_table_is_a_heap(lake, tmp_path):
    table = lake.create_table("risk.pieces", clients(0, 0).schema)
    table.append(clients(0, 10))
    table.delete("ID < 3")
    place = Path(urlsplit(table.location()).path)
    part = next(iter(place.rglob("*.parquet")))
    for piece in (place.parent, place / "data", place / "metadata", part):
        assert f"{place} is an Iceberg table" in the_error(open_source, piece, ["AGE"])
    assert len(read_all(open_source(place, ["AGE"]))) == 7


def test_iceberg_renamed_columns_and_partitions(lake):
    from pyiceberg.transforms import IdentityTransform

    table = lake.create_table("risk.parts", clients(0, 0, month=pa.array([], pa.string())).schema)
    with table.update_spec() as update:
        update.add_field("month", IdentityTransform(), "month")
    table.append(clients(0, 10, month=pa.array(["a", "b"] * 5)))
    with table.update_schema() as update:
        update.rename_column("AGE", "years")
    with table.update_schema() as update:
        update.delete_column("ID")
    source = open_iceberg(folder_of(table), Selection(), [])
    assert source.columns == ("years", "month")
    assert sorted(read_all(source)["years"].to_pylist()) == list(range(20, 30))


def test_iceberg_version_hint_and_two_newest(iceberg):
    place = folder_of(iceberg)
    names = sorted(path.name for path in (place / "metadata").glob("*.metadata.json"))
    (place / "metadata" / "version-hint.text").write_text(names[1] + "\n")
    assert open_iceberg(place, Selection(), []).rows == 50
    (place / "metadata" / "version-hint.text").unlink()
    shutil.copy(place / "metadata" / names[-1], place / "metadata" / f"{names[-1][:5]}-other.metadata.json")
    error = the_error(open_iceberg, place, Selection(), [])
    assert "version-hint.text" in error and names[-1] in error


def test_iceberg_that_was_moved_is_one_sentence(iceberg, tmp_path):
    place = folder_of(iceberg)
    shutil.copytree(place, tmp_path / "copy")
    error = the_error(open_iceberg, tmp_path / "copy", Selection(), [])
    assert str(place) in error and "read it there" in error
    (tmp_path / "link").symlink_to(place)
    assert open_iceberg(tmp_path / "link", Selection(), []).rows == 93


def test_iceberg_without_rows_or_with_a_lost_file(lake, iceberg):
    table = lake.create_table("risk.empty", clients(0, 0).schema)
    source = open_iceberg(folder_of(table), Selection(), ["AGE"])
    assert list(source.chunks()) == [] and source.rows == 0 and len(source.digest()) == 64
    source = open_iceberg(folder_of(iceberg), Selection(), [])
    next(folder_of(iceberg).rglob("data/*.parquet")).unlink()
    for path in folder_of(iceberg).rglob("data/*.parquet"):
        path.unlink()
    assert "not there" in the_error(read_all, source)


# SQLite


@pytest.fixture
def bank(tmp_path):
    path = tmp_path / "bank.db"
    with sqlite3.connect(path) as made:
        made.execute(
            "CREATE TABLE clients (ID INTEGER, AGE NUMERIC, name TEXT, rate REAL, odd, late, photo BLOB, none)"
        )
        rows = [(i, 20 + i % 50, f"n{i}", i / 10, i, None, b"\0\xff", None) for i in range(3000)]
        rows[0] = (4000001234567899017, 25, "007", 0.1, "12", None, None, None)
        rows[2999] = (2999, 30.0, None, None, 1.5, "text at the end", b"", None)
        made.executemany(f"INSERT INTO clients VALUES ({', '.join('?' * 8)})", rows)
        made.execute('CREATE VIEW "the ""young"" ones" AS SELECT ID, AGE FROM clients WHERE AGE < 30')
    made.close()
    return path


def test_sqlite_values_stay_as_they_are(bank):
    source = open_database(f"sqlite:///{bank}", Selection(table="clients"), ["AGE"])
    assert source.digest() == "" and source.columns[:2] == ("ID", "AGE")
    table = read_all(source)
    with sqlite3.connect(bank) as known:
        rows = known.execute("SELECT * FROM clients").fetchall()
    known.close()
    assert len(table) == len(rows) == 3000
    for at in (0, 1, 2999):
        seen, row = list(table.slice(at, 1).to_pylist()[0].values()), list(rows[at])
        row[4] = str(row[4])  # the column with numbers and text
        assert seen == row
    kinds = ["int64", "int64", "string", "double", "string", "string", "binary", "string"]
    assert [str(kind) for kind in table.schema.types] == kinds
    assert source.fields.read(table, "AGE").tolist() == [float(row[1]) for row in rows]
    assert source.notes == ('table "clients" of SQLite',) and len(source.digest()) == 64


def test_sqlite_keys_beside_fractions_stay_exact(tmp_path):
    with sqlite3.connect(tmp_path / "a.db") as made:
        made.execute("CREATE TABLE t (key, AGE)")
        made.executemany(
            "INSERT INTO t VALUES (?, ?)", [(4000001234567899017, 20.125), (1.5, 30), (-(2**63), 1e300)]
        )
    made.close()
    source = open_database(f"sqlite:///{tmp_path}/a.db", Selection(table="t"), ["AGE", "key"])
    table = read_all(source)
    assert table["key"].to_pylist() == ["4000001234567899017", "1.5", str(-(2**63))]
    assert source.fields.read(table, "key").tolist() == [4000001234567899017.0, 1.5, -(2.0**63)]
    assert source.fields.read(table, "AGE").tolist() == [20.125, 30, 1e300]


def test_sqlite_queries(bank):
    address = f"sqlite:///{bank}"
    for query in (
        "SELECT ID, AGE FROM clients ORDER BY ID DESC; ",
        "WITH a AS (SELECT * FROM clients) SELECT ID FROM a ORDER BY ID DESC -- end",
    ):
        source = open_database(address, Selection(query=query), [])
        assert read_all(source)["ID"].to_pylist()[:2] == [4000001234567899017, 2999]
        assert source.notes == ("a query on SQLite",)
    view = open_database(address, Selection(table='the "young" ones'), [])
    assert len(read_all(view)) == 10 * 60
    twice = open_database(address, Selection(query="SELECT ID AS a, AGE AS a FROM clients LIMIT 1"), [])
    assert twice.columns == ("a", "a")  # the caller says which of them matters


@pytest.mark.parametrize(
    ("wish", "word"),
    [
        (Selection(), "there are clients, the"),
        (Selection(table="nope"), "there is no table nope: there are clients, the"),
        (Selection(table="clients; DROP TABLE clients"), "there is no table clients; DROP"),
        (Selection(table="clients", query="SELECT 1"), "give one of them"),
        (Selection(query="DELETE FROM clients"), "only reads"),
        (Selection(query="VACUUM INTO 'oops.db'"), "SELECT"),
        (Selection(query="ATTACH 'oops.db' AS a"), "SELECT"),
        (Selection(query="PRAGMA user_version = 3"), "SELECT"),
        (Selection(query="SELECT 1; DELETE FROM clients"), "one SELECT"),
        (Selection(query="SELECT 1) ; DELETE FROM clients --"), "SELECT"),
        (Selection(query="SELEC 1"), "syntax error"),
        (Selection(query="SELECT nope FROM clients"), "no such column: nope"),
        (Selection(query="-- nothing"), "SELECT"),
    ],
)
def test_sqlite_refusals(bank, tmp_path, monkeypatch, wish, word):
    monkeypatch.chdir(tmp_path)
    before = bank.read_bytes()
    assert word in the_error(open_database, f"sqlite:///{bank}", wish, [])
    assert bank.read_bytes() == before and not Path("oops.db").exists()


@pytest.mark.parametrize("scheme", ["sqlite", "duckdb"])
def test_a_file_that_is_not_there_stays_away(tmp_path, scheme):
    for rest in (f"/{tmp_path}/none.db", f"/{tmp_path}", "/", "/:memory:", "none.db"):
        error = the_error(open_database, f"{scheme}://{rest}", Selection(table="t"), [])
        assert "there is no file" in error or "names no file" in error
    assert not list(tmp_path.iterdir())
    (tmp_path / "junk.db").write_bytes(b"no database at all " * 500)
    assert "another kind of file" in the_error(
        open_database, f"{scheme}:///{tmp_path}/junk.db", Selection(table="t"), []
    )


def test_addresses_of_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = tmp_path / "a b%20?#ü@x:y.db"
    sqlite3.connect(odd).execute("CREATE TABLE t (a)").connection.close()
    sqlite3.connect("plain.db").execute("CREATE TABLE t (a)").connection.close()
    for address in (
        f"sqlite:///{odd}",
        "sqlite:///plain.db",
        f"sqlite:///{tmp_path}/plain.db",
        "sqlite:///pl%61in.db",
    ):
        assert open_database(address, Selection(table="t"), []).columns == ("a",)


# DuckDB


@pytest.fixture
def duck(tmp_path):
    path = tmp_path / "bank.duckdb"
    with duckdb.connect(str(path)) as made:
        made.execute("CREATE TYPE mood AS ENUM ('good', 'bad')")
        made.execute("CREATE SCHEMA risk")
        made.execute('CREATE TABLE risk."my.clients" AS SELECT 1 AS ID')
        made.execute(
            "CREATE TABLE clients AS SELECT i::BIGINT + 4000001234567890000 AS ID, (20 + i % 50)::DECIMAL(38, 9) AS AGE, i::HUGEINT AS h, "
            "340282366920938463463374607431768211455::UHUGEINT AS u, 'good'::mood AS mood, [i] AS list, '01:02'::TIME AS at, "
            "INTERVAL 1 DAY AS span, uuid_parse AS key FROM range(150000) r(i), (SELECT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID AS uuid_parse)"
        )
    return path


def test_duckdb_values_stay_as_they_are(duck):
    source = open_database(f"duckdb:///{duck}", Selection(table="clients"), ["AGE"])
    assert [len(chunk.table) for chunk in source.chunks()] == [100_000, 50_000]
    table = read_all(source)
    assert table["ID"].to_pylist() == list(range(4000001234567890000, 4000001234567890000 + 150_000))
    assert source.fields.read(table, "AGE").tolist() == [20 + i % 50 for i in range(150_000)]
    row = table.slice(7, 1).to_pylist()[0]
    assert row["u"] == str(2**128 - 1) and row["h"] == 7 and row["mood"] == "good" and row["list"] == "[7]"
    assert (
        row["at"] == "01:02:00"
        and row["span"] == "1 day"
        and row["key"] == "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    )
    with duckdb.connect(str(duck), read_only=True) as known:
        total, count = known.execute("SELECT sum(AGE), count(*) FROM clients").fetchone()
    assert (pc.sum(table["AGE"]).as_py(), len(table)) == (total, count)
    again = open_database(f"duckdb:///{duck}", Selection(table="main.clients"), [])
    read_all(again)
    assert again.digest() == source.digest() != ""
    assert read_all(open_database(f"duckdb:///{duck}", Selection(table="risk.my.clients"), [])).num_rows == 1


def test_duckdb_queries_keep_their_order(duck):
    query = "SELECT list, ID FROM clients ORDER BY ID DESC LIMIT 5;"
    assert read_all(open_database(f"duckdb:///{duck}", Selection(query=query), []))["list"].to_pylist()[
        :2
    ] == ["[149999]", "[149998]"]
    query = "SELECT ID % 7 AS a, count(*) AS AGE FROM clients GROUP BY 1"
    source = open_database(f"duckdb:///{duck}", Selection(query=query), ["AGE"])
    first = read_all(source)
    assert first.equals(read_all(source)) and source.fields.read(first, "AGE").sum() == 150_000


@pytest.mark.parametrize(
    ("wish", "word"),
    [
        (Selection(table="nope"), "there are clients, risk.my.clients"),
        (Selection(query="COPY (SELECT 1) TO 'oops.csv'"), "one SELECT"),
        (Selection(query="ATTACH 'oops.duckdb'"), "one SELECT"),
        (Selection(query="SELECT 1; SELECT 2"), "one SELECT"),
        (Selection(query="DROP TABLE clients"), "one SELECT"),
        (Selection(query=""), "needs the name of a table, or a query"),
        (Selection(query=" -- "), "one SELECT"),
        (Selection(query="SELEC 1"), "syntax error"),
        (Selection(query="SELECT nope FROM clients"), "nope"),
        (Selection(query="SELECT list AS a, ID AS a FROM clients"), "two columns a"),
        (Selection(query="SELECT CAST('x' AS INTEGER)"), "x"),
    ],
)
def test_duckdb_refusals(duck, tmp_path, monkeypatch, wish, word):
    monkeypatch.chdir(tmp_path)
    assert word in the_error(lambda: read_all(open_database(f"duckdb:///{duck}", wish, [])))
    assert not list(tmp_path.glob("oops*"))


def test_a_database_that_another_program_writes(duck, bank):
    script = (
        f"import duckdb, sys; c = duckdb.connect({str(duck)!r}); print('open', flush=True); sys.stdin.read()"
    )
    held = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert held.stdout.readline() == b"open\n"
        error = the_error(open_database, f"duckdb:///{duck}", Selection(table="clients"), [])
        assert "another program holds it" in error
    finally:
        held.communicate()
    with sqlite3.connect(bank) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "another program holds it" in the_error(
            open_database, f"sqlite:///{bank}", Selection(table="clients"), []
        )
    other.close()


def test_infinite_dates_are_refused_by_name(duck):
    query = "SELECT 'infinity'::DATE AS valid_to"
    error = the_error(lambda: read_all(open_database(f"duckdb:///{duck}", Selection(query=query), [])))
    assert "valid_to holds an infinite date" in error
    query = "SELECT 'infinity'::DATE::VARCHAR AS valid_to, DATE '9999-12-31' AS d"
    assert read_all(open_database(f"duckdb:///{duck}", Selection(query=query), []))[
        "valid_to"
    ].to_pylist() == ["infinity"]


# PostgreSQL


@pytest.fixture(scope="module")
def server():
    programs = find_programs()
    if programs is None:
        skip_without("there is no PostgreSQL on this machine: make servers installs Debian's", by_root=True)
    with run_postgres(programs) as running, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PG")]:
            patch.delenv(name)
        patch.setenv("PGPASSWORD", PASSWORD)
        address = f"postgresql://{USER}@127.0.0.1:{running.port}/postgres"
        for statement in (
            "CREATE TYPE mood AS ENUM ('good', 'bad')",
            "CREATE SCHEMA risk",
            "CREATE TABLE clients (id bigint, age numeric(10,3), wide numeric, big numeric(50,2), neg numeric(3,-2), name varchar(9), "
            "paid money, mood mood, key uuid, doc jsonb, tags int[], ip inet, at time, span interval, flag bool, day date, "
            'stamp timestamptz, raw bytea, o oid, "we""ird; col" text)',
            "INSERT INTO clients SELECT 4000001234567890000 + i, 20 + i % 50, 1.5, 2.5, 12345, 'n' || i, 12.5, 'good', "
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{\"a\": 1}', '{1,2}', '10.0.0.1', '24:00', '1 day', true, '2024-01-02', "
            "'2024-01-02 03:04:05+02', '\\x00ff', 4294967295, 'x' FROM generate_series(0, 119999) i",
            'CREATE TABLE risk."My.Table" AS SELECT 1 AS "AGE"',
            "CREATE TABLE risk.secret AS SELECT 1 AS a",
            "CREATE ROLE reader LOGIN PASSWORD 'reader-secret'",
            "GRANT SELECT ON clients TO reader",
            "GRANT USAGE ON SCHEMA risk TO reader",
        ):
            run_sql(address, statement)
        yield address


def run_sql(address: str, statement: str) -> list:
    import adbc_driver_postgresql.dbapi as adbc

    with adbc.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall() if statement.lstrip().upper().startswith("SELECT") else []
        connection.commit()
    return rows


def test_postgres_values_stay_as_they_are(server):
    source = open_database(server, Selection(table="clients"), ["AGE", "WIDE"])
    assert source.digest() == ""
    assert [len(chunk.table) for chunk in source.chunks()] == [100_000, 20_000]
    first = source.digest()
    table = read_all(source)
    assert source.digest() == first and len(first) == 64
    (count, total, keys) = run_sql(
        server, "SELECT count(*), sum(age)::float8, sum(id - 4000001234567890000)::float8 FROM clients"
    )[0]
    assert len(table) == count == 120_000
    assert source.fields.read(table, "AGE").sum() == total
    assert sum(key - 4000001234567890000 for key in table["id"].to_pylist()) == keys
    row = table.slice(7, 1).to_pylist()[0]
    assert row["age"] == Decimal("27.000") and table.schema.field("age").type == pa.decimal128(10, 3)
    assert row["wide"] == "1.5" and row["big"] == Decimal("2.50") and row["neg"] == Decimal(12300)
    assert (
        row["paid"] == "12.50"
        and row["o"] == 4294967295
        and row["at"] == "24:00:00"
        and row["span"] == "1 day"
    )
    assert (
        row["mood"] == "good"
        and row["key"] == "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
        and row["tags"] == "{1,2}"
    )
    assert (
        row["doc"] == '{"a": 1}'
        and row["ip"] == "10.0.0.1/32"
        and row["raw"] == b"\0\xff"
        and row["flag"] is True
    )
    assert row["day"] == datetime.date(2024, 1, 2) and row["stamp"].hour == 1 and row['we"ird; col'] == "x"
    assert source.notes == ('table "clients" of PostgreSQL',)
    assert not [field for field in table.schema if isinstance(field.type, pa.BaseExtensionType)]


def test_numeric_has_one_reading(server):
    query = "SELECT 20.000::numeric(10,3) AS age, 20.125::numeric AS pay, '20.000'::text AS note"
    source = open_database(server, Selection(query=query), ["age", "pay", "note"])
    table = read_all(source)
    assert [source.fields.read(table, name).tolist() for name in ("age", "pay")] == [[20], [20.125]]
    assert np.isnan(source.fields.read(table, "note")).all()  # text can be twenty thousand
    query = "SELECT x::numeric(10, 2) AS pay FROM (VALUES ('NaN'), ('1')) v(x)"
    assert "pay holds NaN" in the_error(lambda: read_all(open_database(server, Selection(query=query), [])))
    query = "SELECT x::numeric AS pay FROM (VALUES ('NaN'), ('1.50')) v(x)"
    source = open_database(server, Selection(query=query), ["pay"])
    assert source.fields.read(read_all(source), "pay").tolist()[1] == 1.5


def test_postgres_queries(server):
    for query in (
        "SELECT id, tags FROM clients ORDER BY id DESC LIMIT 3;",
        "SELECT id, age FROM clients ORDER BY id DESC LIMIT 3 -- end",
    ):
        source = open_database(server, Selection(query=query), [])
        assert read_all(source)["id"].to_pylist() == [
            4000001234567890000 + i for i in (119_999, 119_998, 119_997)
        ]
        assert source.notes == ("a query on PostgreSQL",)
    named = open_database(server, Selection(table="risk.My.Table"), ["AGE"])
    assert read_all(named)["AGE"].to_pylist() == [1]
    empty = open_database(server, Selection(query="SELECT id, age FROM clients WHERE false"), ["AGE"])
    assert empty.columns == ("id", "age") and list(empty.chunks()) == [] and len(empty.digest()) == 64


def test_digest_of_a_table_follows_its_rows(server):
    run_sql(server, "CREATE TABLE small AS SELECT i AS id, 'n' || i AS name FROM generate_series(1, 1000) i")
    source = open_database(server, Selection(table="small"), [])
    read_all(source)
    before = source.digest()
    run_sql(server, "INSERT INTO small VALUES (1001, NULL)")
    read_all(source)
    assert source.digest() != before


@pytest.mark.parametrize(
    ("wish", "word"),
    [
        (Selection(), "there are clients"),
        (Selection(table="nope"), "risk.My.Table"),
        (Selection(table="My.Table"), "there is no table My.Table"),
        (Selection(query="DELETE FROM clients RETURNING id"), "only reads"),
        (Selection(query="CREATE TABLE oops AS SELECT 1 AS a"), "SELECT"),
        (Selection(query="SELECT 1; DELETE FROM clients"), "one SELECT"),
        (Selection(query="SELECT 1); DELETE FROM clients; --"), "SELECT"),
        (Selection(query="SHOW work_mem"), "SELECT"),
        (Selection(query="SELEC 1"), "syntax error"),
        (Selection(query="SELECT nope FROM clients"), 'column "nope" does not exist'),
        (Selection(query="SELECT tags AS a, id AS a FROM clients"), "two columns a"),
        (
            Selection(query="SELECT 1 / (i - 150000) AS a FROM generate_series(1, 200000) i"),
            "division by zero",
        ),
        (Selection(query="SELECT 'infinity'::timestamp AS valid_to"), "valid_to holds an infinite date"),
        (Selection(query="SELECT '-infinity'::date AS valid_to"), "valid_to holds an infinite date"),
    ],
)
def test_postgres_refusals(server, wish, word):
    error = the_error(lambda: read_all(open_database(server, wish, [])))
    assert word in error and PASSWORD not in error
    assert run_sql(server, "SELECT count(*) FROM clients") == [(120_000,)]


def test_postgres_connection_errors(server, monkeypatch):
    other = server.replace("mlflow@", "reader@")
    wish = Selection(table="clients")
    assert (
        "password authentication failed" in (error := the_error(open_database, other, wish, []))
        and "PGPASSFILE" in error
    )
    assert PASSWORD not in error
    monkeypatch.setenv("PGPASSWORD", "reader-secret")
    assert open_database(other, wish, []).columns[0] == "id"
    error = the_error(lambda: read_all(open_database(other, Selection(table="risk.secret"), [])))
    assert "permission denied" in error and "ask the owner" in error
    assert "does not exist" in the_error(open_database, other.replace("/postgres", "/nobank"), wish, [])
    assert "server runs" in the_error(open_database, "postgresql://reader@127.0.0.1:1/bank", wish, [])
    monkeypatch.delenv("PGPASSWORD")
    error = the_error(open_database, other, wish, [])
    assert "no password supplied" in error and "chmod 600" in error


def test_postgres_password_file(server, monkeypatch, tmp_path):
    path = tmp_path / "pass"
    path.write_text("*:*:*:mlflow:" + PASSWORD.replace(":", "\\:") + "\n")
    path.chmod(0o600)
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", str(path))
    assert read_all(open_database(server, Selection(table="risk.My.Table"), [])).num_rows == 1


OPENING = "postgresql://"  # apart, so that no file seems to hold a secret


@pytest.mark.parametrize(
    "rest",
    [
        "risk:hunter2secret@127.0.0.1:1/bank",
        "risk:hunter2/secret@127.0.0.1:1/bank",
        "risk:hunter2?secret@127.0.0.1:1/bank",
        "risk:hunter2#secret@127.0.0.1:1/bank",
        "risk:hunter2 secret@127.0.0.1:1/bank",
        "risk:hunter2%20secret@127.0.0.1:1/bank?sslmode=disable",
        ":hunter2@127.0.0.1:1/bank",
        "risk@127.0.0.1:1/bank?password=hunter2",
        "risk@127.0.0.1:1/bank?sslmode=disable&PASSWORD=hunter2",
        "127.0.0.1:1/bank?user=risk&sslpassword=hunter2",
    ],
)
def test_an_address_with_a_password_is_refused_and_not_shown(rest):
    address = OPENING + rest
    for call in (lambda: open_database(address, Selection(table="t"), []), TableWriter(address, "t").begin):
        error = the_error(call)
        assert "PGPASSWORD" in error and "hunter2" not in error and "secret" not in error


def test_memory_is_flat(server, tmp_path):
    "Three million rows of PostgreSQL, in a process of their own."
    script = """if True:
        import resource, sys
        from rumos_bank.data.databases import open_database
        from rumos_bank.data.places import Selection
        query = "SELECT i AS id, 'a name of a client ' || i AS name FROM generate_series(1, %s) i"
        def read(rows):
            source = open_database(sys.argv[1], Selection(query=query % rows), [])
            assert sum(len(chunk.rows) for chunk in source.chunks()) == rows
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(read(200_000), read(1_000_000))
    """
    environment = clean_environment() | {"PGPASSWORD": PASSWORD, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script, server], env=environment, capture_output=True, text=True, timeout=120
    )
    small, large = map(float, done.stdout.split())
    assert large - small < 40, (
        done.stdout + done.stderr
    )  # MiB; all rows would be 40 MiB of text and numbers, more than once


# Results in a table


RESULTS = {
    "ID": pa.array([4000001234567899017, None]),
    "text": pa.array(["0012", None]),
    "view": pa.array(["a", "b"], pa.string_view()),
    "probability": pa.array([0.1, None]),
    "approved": pa.array([True, None]),
    "day": pa.array([datetime.date(2024, 1, 2), None]),
    "at": pa.array([datetime.datetime(2024, 1, 2, 3, 4, 5, 6), None], pa.timestamp("us")),
    "zoned": pa.array([datetime.datetime(2024, 1, 2, 3, 4, 5), None], pa.timestamp("us", "UTC")),
    "nanos": pa.array([datetime.datetime(2024, 1, 2, 3, 4, 5), None], pa.timestamp("ns")),
    "amount": pa.array([Decimal("12.50"), None], pa.decimal128(10, 2)),
    "kind": pa.array(["x", "y"]).dictionary_encode(),
    "nothing": pa.nulls(2),
    "small": pa.array([1, None], pa.uint8()),
    "large": pa.array([2**63 - 1, 0], pa.uint64()),
    'we"ird; name': pa.array(["x", "y"]),
}


@pytest.fixture(params=["postgresql", "duckdb", "sqlite"])
def target(request, tmp_path):
    "An address, and a function that asks the database by a connection of its own."
    if request.param == "postgresql":
        address = request.getfixturevalue("server")
        tables = "SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_name LIKE 'out%'"
        for (name,) in run_sql(address, tables):
            run_sql(address, f"DROP TABLE {name}")
        return address, lambda query: run_sql(address, query)
    path = tmp_path / f"out.{request.param}"
    address = f"{request.param}:///{path}"
    if request.param == "duckdb":

        def ask(query):
            with duckdb.connect(str(path)) as connection:
                return connection.execute(query).fetchall()
    else:

        def ask(query):
            with sqlite3.connect(path) as connection:
                rows = connection.execute(query).fetchall()
            connection.close()
            return rows

    return address, ask


def is_there(address: str, name: str) -> bool:
    try:
        open_database(address, Selection(table=name), [])
    except DataError as error:
        assert "there is no" in str(error)
        return False
    return True


def test_results_are_exact(target):
    address, ask = target
    writer = TableWriter(address, "out")
    writer.begin()
    writer.add(pa.table(RESULTS))
    writer.add(pa.table(RESULTS))
    writer.add(pa.table({"ID": [1], "reason": ["AGE is missing"]}), rejected=True)
    digest = writer.finish()
    assert not is_there(address, "out")
    writer.close(commit=True)
    writer.close(commit=True)  # does nothing more
    assert ask("SELECT count(*) FROM out") == [(4,)] and ask("SELECT * FROM out_rejects") == [
        (1, "AGE is missing")
    ]
    assert len(digest) == 64
    row = read_all(open_database(address, Selection(table="out"), [])).to_pylist()[0]
    assert row["ID"] == 4000001234567899017 and row["text"] == "0012" and row["probability"] == 0.1
    assert row["view"] == "a" and row["kind"] == "x" and row["nothing"] is None and row["small"] == 1
    assert int(row["large"]) == 2**63 - 1 and row['we"ird; name'] == "x" and row["approved"] in (True, 1)
    assert Decimal(row["amount"]) == Decimal("12.50")
    assert [str(row[name])[:19] for name in ("day", "at", "zoned", "nanos")] == [
        "2024-01-02",
        *["2024-01-02 03:04:05"] * 3,
    ]


def test_types_in_the_database(target):
    address, ask = target
    writer = TableWriter(address, "out")
    writer.begin()
    writer.add(pa.table(RESULTS))
    writer.close(commit=True)
    wanted = {
        "postgresql": "bigint text double precision boolean date timestamp without time zone",
        "duckdb": "BIGINT VARCHAR DOUBLE BOOLEAN DATE TIMESTAMP",
        "sqlite": "INTEGER TEXT REAL BOOLEAN DATE TIMESTAMP",
    }
    engine = urlsplit(address).scheme
    if engine == "sqlite":
        kinds = dict(ask("SELECT name, type FROM pragma_table_info('out')"))
    else:
        kinds = dict(
            ask("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'out'")
        )
    names = ("ID", "text", "probability", "approved", "day", "at")
    assert list(kinds) == list(RESULTS) or engine == "postgresql"
    assert " ".join(kinds[name] for name in names) == wanted[engine]


def test_an_error_in_the_middle_leaves_nothing(target):
    address, ask = target
    writer = TableWriter(address, "out")
    writer.begin()
    writer.add(pa.table({"ID": [1]}))
    with pytest.raises(DataError, match="other columns"):
        writer.add(pa.table({"AGE": [1]}))
    writer.close(commit=False)
    assert urlsplit(address).scheme == "postgresql" or not Path(urlsplit(address).path).exists()
    writer = TableWriter(address, "out")
    writer.begin()
    writer.add(pa.table({"ID": [1]}))
    writer.add(pa.table({"ID": [2]}), rejected=True)
    ask("CREATE TABLE out_rejects (a INTEGER)")  # by another program, meanwhile
    assert "already exists: choose another name" in the_error(writer.close, True)
    assert not is_there(address, "out")


def test_an_existing_table_is_kept_unless_it_may_be_replaced(target):
    address, ask = target
    ask("CREATE TABLE out_rejects (a INTEGER)")
    assert "out_rejects is there already" in the_error(TableWriter(address, "out").begin)
    for value in (1, 2):
        writer = TableWriter(address, "out", replace=True)
        writer.begin()
        writer.add(pa.table({"ID": [value]}))
        writer.finish()
        writer.close(commit=True)
        assert ask("SELECT * FROM out") == [(value,)] and not is_there(address, "out_rejects")
    assert "out is there already" in the_error(TableWriter(address, "out").begin)


KILLED = """if True:
    import os, signal, sys
    import pyarrow as pa
    from rumos_bank.data import databases
    from rumos_bank.data.databases import TableWriter

    def die(*words):
        print("killed", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    (address,) = sys.argv[1:]
    writer = TableWriter(address, "out")
    writer.begin()
    writer.add(pa.table({"ID": list(range(100_000))}))
    writer.add(pa.table({"ID": [1]}), rejected=True)
    read, reads = databases._Stage.read, []
    def read_then_die(stage):
        reads.append(stage)
        if len(reads) == 2:  # the first table is in the transaction
            die()
        return read(stage)
    databases._Stage.read = read_then_die
    writer.finish()
    writer.close(commit=True)
"""


def test_a_killed_run_leaves_nothing(target):
    address, ask = target
    environment = clean_environment() | {"PGPASSWORD": PASSWORD, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, address],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "killed\n" and done.returncode == -9, done.stderr
    if urlsplit(address).scheme == "postgresql" or Path(urlsplit(address).path).exists():
        assert not is_there(address, "out")
    writer = TableWriter(address, "out")  # and the next run can begin
    writer.begin()
    writer.add(pa.table({"ID": [1]}))
    writer.close(commit=True)
    assert ask("SELECT * FROM out") == [(1,)]


def test_others_see_nothing_before_the_commit(target, monkeypatch):
    address, ask = target
    ask("CREATE TABLE out_other (a INTEGER)")
    seen = []
    read = databases._Stage.read

    def look_and_read(stage):
        if urlsplit(address).scheme != "duckdb":  # one program at a time has a DuckDB file
            seen.append(is_there(address, "out"))
        return read(stage)

    monkeypatch.setattr(databases._Stage, "read", look_and_read)
    writer = TableWriter(address, "out")
    writer.begin()
    writer.add(pa.table({"ID": [1]}))
    writer.add(pa.table({"ID": [2]}), rejected=True)
    seen.append(is_there(address, "out"))
    writer.close(commit=True)
    assert not any(seen) and seen and is_there(address, "out")


def test_input_and_results_in_one_database(target):
    address, ask = target
    ask("CREATE TABLE out_clients AS SELECT 1 AS id, 25 AS age UNION ALL SELECT 2, 26")
    source = open_database(address, Selection(table="out_clients"), ["AGE"])
    writer = TableWriter(address, "out")
    writer.begin()
    for chunk in source.chunks():
        writer.add(chunk.table)
    writer.close(commit=True)
    assert sorted(ask("SELECT id, age FROM out")) == [(1, 25), (2, 26)]


def test_schemas(server, duck):
    for address in (server, f"duckdb:///{duck}"):
        writer = TableWriter(address, "risk.out", replace=True)
        writer.begin()
        writer.add(pa.table({"ID": [1]}))
        writer.close(commit=True)
        assert read_all(open_database(address, Selection(table="risk.out"), [])).num_rows == 1
        assert "there already" in the_error(TableWriter(address, "risk.out").begin)
    run_sql(server, "DROP TABLE risk.out")
    assert "there is no schema nowhere" in the_error(TableWriter(server, "nowhere.out").begin)


def test_rights_and_names(server, tmp_path, monkeypatch):
    assert "63 bytes" in the_error(TableWriter(server, "x" * 60).begin)
    assert "no folder" in the_error(TableWriter(f"sqlite:///{tmp_path}/none/a.db", "t").begin)
    for bad in (
        {"a": [[1]]},
        {"Age": [1], "AGE": [2]},
        {"n": pa.array([2**64 - 1], pa.uint64())},
        {"n": pa.array([1], pa.timestamp("ns"))},
    ):
        writer = TableWriter(f"sqlite:///{tmp_path}/a.db", "t")
        writer.begin()
        the_error(writer.add, pa.table(bad))
        assert writer.close(commit=False) is None
    assert not (tmp_path / "a.db").exists() or not is_there(f"sqlite:///{tmp_path}/a.db", "t")
    writer = TableWriter(server, "out_nul")
    writer.begin()
    writer.add(pa.table({"a": ["x\0y"]}))
    assert "NUL" in the_error(writer.close, True)
    monkeypatch.setenv("PGPASSWORD", "reader-secret")
    assert "may not make a table in the schema" in the_error(
        TableWriter(server.replace("mlflow@", "reader@"), "out").begin
    )


def test_large_unsigned_numbers_in_postgres(server):
    "ADBC alone stores 18446744073709551615 as -1."
    writer = TableWriter(server, "out_large", replace=True)
    writer.begin()
    writer.add(pa.table({"n": pa.array([2**64 - 1], pa.uint64())}))
    writer.close(commit=True)
    assert run_sql(server, "SELECT n::text FROM out_large") == [(str(2**64 - 1),)]
    run_sql(server, "DROP TABLE out_large")


# What was read


def test_the_digest_does_not_depend_on_the_cuts():
    rng = np.random.default_rng(17)
    whole = pa.table(
        RESULTS
        | {
            "list": [[1], None],
            "time": pa.array([datetime.time(1), None]),
            "f": pa.array([1.5, None], pa.float32()),
        }
    )
    whole = pa.concat_tables([whole] * 50).combine_chunks()
    known = set()
    for _ in range(20):
        digest, at = RowsDigest(whole.column_names), 0
        while at < len(whole):
            size = int(rng.integers(1, 40))
            digest.add(whole.slice(at, size))
            at += size
        known.add(digest.hexdigest())
    assert len(known) == 1
    seen = set()
    for column in ([["ab", "c"]], [["a", "bc"]], [["abc", None]], [["abc", ""]], [[None, "abc"]]):
        digest = RowsDigest(["a"])
        digest.add(pa.table(column, names=["a"]))
        seen.add(digest.hexdigest())
    assert len(seen) == 5
