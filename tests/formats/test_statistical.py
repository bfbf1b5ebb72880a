"Files of SAS, SPSS and Stata as R and pyreadstat write them: codes as they stand, and nothing that is missing is a number."

import datetime as dt
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rumos_bank.data import places, statistical
from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT
from rumos_bank.data.places import Held, Selection, digest_place
from rumos_bank.data.statistical import find_label_fault, find_labelled, open_statistical
from rumos_bank.ground import errors
from rumos_bank.ground.errors import DataError, PackageError

pyreadstat = pytest.importorskip("pyreadstat")
WRITERS = {
    ".sav": pyreadstat.write_sav,
    ".zsav": lambda frame, path: pyreadstat.write_sav(frame, path, compress=True),
    ".por": pyreadstat.write_por,
    ".dta": pyreadstat.write_dta,
    ".xpt": lambda frame, path: pyreadstat.write_xport(frame, path, file_format_version=5),
}


def read(place, needed=()):
    "The source, its rows' numbers and its columns as lists."
    source = open_statistical(place, Selection(), needed)
    chunks = list(source.chunks())
    rows = [number for chunk in chunks for number in chunk.rows.tolist()]
    columns = {
        name: [cell for chunk in chunks for cell in chunk.table[name].to_pylist()] for name in source.columns
    }
    return source, rows, columns


def numbers(source, name):
    (chunk,) = source.chunks()
    return source.fields.read(chunk.table, name).tolist()


def reasons(source, *names):
    "What the contract says about each row."
    (chunk,) = source.chunks()
    fields = {name: source.fields.read(chunk.table, name) for name in names}
    return [
        source.fields.describe(row, {name: float(values[at]) for name, values in fields.items()})
        for at, row in enumerate(chunk.table.to_pylist())
    ]


# What haven of R writes

R_SCRIPT = """
library(haven)
d <- data.frame(
  ID = c(4000001, 4000002, 4000003, 4000004), AGE = c(25, 31, NA, 40),
  note = c("00012", "x", "", "caf\\u00e9"),
  day = as.Date(c("2024-01-15", NA, "1960-01-01", "1959-12-31")), zero = c(0, 0, 1, -1.5)
)
d$moment <- as.POSIXct("2024-01-15 10:30:00", tz = "UTC") + c(0, 1, 2, 86400)
s <- d
s$EDUCATION <- labelled_spss(c(1, 2, 8, 9), c(graduate = 1, refused = 8), na_values = c(8, 9), label = "EDUCATION level")
s$LIMIT_BAL <- labelled_spss(c(30000, 1e6, 9999998, 9999999), na_range = c(9999998, Inf))
write_sav(s, "a.sav")
write_sav(s, "a.zsav", compress = "zsav")
t <- d
t$AGE <- c(25, tagged_na("a"), tagged_na("z"), NA)
t$SEX <- labelled(c(1, 2, 2, 1), c(male = 1, female = 2), label = "sex of the client")
write_dta(t, "a.dta")
d$EDUCATIO <- labelled(c(1, 2, 2, 1), label = "EDUCATION")
write_xpt(d, "v5.xpt", version = 5)
names(d)[7] <- "EDUCATION"
write_xpt(d, "v8.xpt", version = 8)
suppressWarnings(write_sas(d, "a.sas7bdat"))
"""
PLAIN = {
    "ID": [4000001, 4000002, 4000003, 4000004],
    "AGE": [25, 31, None, 40],
    "note": ["00012", "x", None, "caf\u00e9"],
    "day": [dt.date(2024, 1, 15), None, dt.date(1960, 1, 1), dt.date(1959, 12, 31)],
    "zero": [0, 0, 1, -1.5],
    "moment": [
        dt.datetime(2024, 1, 15, 10, 30),
        dt.datetime(2024, 1, 15, 10, 30, 1),
        dt.datetime(2024, 1, 15, 10, 30, 2),
        dt.datetime(2024, 1, 16, 10, 30),
    ],
}


@pytest.fixture(scope="session")
def written_by_r(tmp_path_factory):
    if shutil.which("Rscript") is None:
        pytest.skip("Rscript (R) is not installed")
    folder = tmp_path_factory.mktemp("r")
    (folder / "write.R").write_text(R_SCRIPT)
    done = subprocess.run(["Rscript", "write.R"], cwd=folder, capture_output=True, text=True)
    if "there is no package" in done.stderr:
        pytest.skip("haven of R is not installed")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", ["a.sav", "a.zsav"])
def test_spss_files_of_haven_with_values_that_mean_missing(written_by_r, name):
    source, rows, columns = read(written_by_r / name, ["AGE", "EDUCATION", "LIMIT_BAL"])
    assert rows == [1, 2, 3, 4] and source.format == "SPSS" and source.rows == 4
    assert columns == {**PLAIN, "EDUCATION": [1, 2, 8, 9], "LIMIT_BAL": [30000, 10**6, 9999998, 9999999]}
    assert "missing as the file defines it: EDUCATION 8 and 9, LIMIT_BAL 9999998 and more" in source.notes
    assert "codes kept, labels not applied (EDUCATION)" in source.notes
    assert np.array_equal(numbers(source, "LIMIT_BAL"), [30000, 10**6, np.nan, np.nan], equal_nan=True)
    found = reasons(source, "EDUCATION", "LIMIT_BAL")
    assert found[:2] == ["", ""]
    assert "got 8 (missing, as the file defines it)" in found[2]
    assert "got 9999999 (missing, as the file defines it)" in found[3]


def test_a_stata_file_of_haven_with_letters_that_mean_missing(written_by_r):
    source, rows, columns = read(written_by_r / "a.dta", ["AGE", "SEX"])
    assert rows == [1, 2, 3, 4] and source.format == "Stata"
    assert columns == {**PLAIN, "AGE": ["25", ".a", ".z", None], "SEX": [1, 2, 2, 1]}
    assert np.array_equal(numbers(source, "AGE"), [25, *[np.nan] * 3], equal_nan=True)
    assert "got '.a'" in reasons(source, "AGE")[1] and "got an empty cell" in reasons(source, "AGE")[3]


@pytest.mark.parametrize("name", ["v5.xpt", "v8.xpt", "a.sas7bdat"])
def test_sas_files_of_haven(written_by_r, name):
    source, rows, columns = read(written_by_r / name, ["AGE", "EDUCATION"])
    own = "EDUCATIO" if name == "v5.xpt" else "EDUCATION"
    assert rows == [1, 2, 3, 4] and columns == {**PLAIN, own: [1, 2, 2, 1]}
    assert source.fields.names["EDUCATION"] == own
    types = dict(zip(source.columns, map(str, next(source.chunks()).table.schema.types), strict=True))
    assert (types["ID"], types["zero"], types["day"]) == ("int64", "double", "date32[day]")
    assert (types["note"], types["moment"]) == ("string", "timestamp[us]")


# What pyreadstat writes


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_gives_the_same_clients(tmp_path, suffix):
    "0 is 0, and not 5.4e-79 as pandas reads it in a transport file."
    names = [
        name.replace("BILL_AMT", "BILLAMT").replace("LIMIT_BAL", "LIMITBAL")[:8] for name in CLIENT_COLUMNS
    ]
    clients = np.array([list(EXAMPLE_CLIENT.values())] * 3, float)
    clients[:, 0] = [10_000, 20_000, 30_000]
    frame = pd.DataFrame(clients, columns=names)
    path = tmp_path / f"clients{suffix}"
    WRITERS[suffix](frame, str(path))
    for place in (path, Held(path.name, path.read_bytes())):
        source, rows, _ = read(place, CLIENT_COLUMNS)
        assert rows == [1, 2, 3] and set(source.fields.names) == set(CLIENT_COLUMNS)
        (chunk,) = source.chunks()
        got = np.column_stack([source.fields.read(chunk.table, name) for name in CLIENT_COLUMNS])
        assert np.array_equal(got, clients) and {str(kind) for kind in chunk.table.schema.types} == {"int64"}
        assert source.digest() == digest_place(path)


def test_chunks_are_the_same_every_time_whatever_the_windows(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "CHUNK_ROWS", 4)
    frame = pd.DataFrame({"AGE": [float(20 + at) for at in range(10)], "x": [*range(9), 0.5]})
    path = tmp_path / "clients.sav"
    pyreadstat.write_sav(frame, str(path))
    for window, held in ((3, 0), (5, 0), (5, 100), (10, 2**20), (100, 2**20)):
        monkeypatch.setattr(statistical, "_WINDOW", window)
        monkeypatch.setattr(statistical, "_MOST_HELD", held)
        source = open_statistical(path, Selection(), ["AGE"])
        for _ in range(2):
            chunks = list(source.chunks())
            assert [chunk.rows.tolist() for chunk in chunks] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
            assert [cell for chunk in chunks for cell in chunk.table["AGE"].to_pylist()] == list(
                range(20, 30)
            )
            assert {str(chunk.table["x"].type) for chunk in chunks} == {"double"}
            assert {str(chunk.table["AGE"].type) for chunk in chunks} == {"int64"}


def test_a_letter_in_a_late_window_makes_the_whole_column_text(tmp_path, monkeypatch):
    monkeypatch.setattr(statistical, "_WINDOW", 2)
    frame = pd.DataFrame({"AGE": [25.0, 31.5, 40.0, "b"]})
    path = tmp_path / "clients.dta"
    pyreadstat.write_dta(frame, str(path), missing_user_values={"AGE": ["b"]})
    assert read(path)[2] == {"AGE": ["25", "31.5", "40", ".b"]}


def test_kinds_of_stata_numbers(tmp_path):
    frame = pd.DataFrame(
        {
            "AGE": np.array([25, 31], "int8"),
            "SEX": np.array([1, 2], "int32"),
            "x": np.array([0.1, 2], "float64"),
        }
    )
    path = tmp_path / "clients.dta"
    pyreadstat.write_dta(frame, str(path))
    assert read(path)[2] == {"AGE": [25, 31], "SEX": [1, 2], "x": [0.1, 2]}


def test_a_number_that_a_double_cannot_hold_is_not_made_whole(tmp_path):
    path = tmp_path / "clients.sav"
    pyreadstat.write_sav(pd.DataFrame({"key": [2.0**53, 1.0], "all": [2.0**53 - 1, 1.0]}), str(path))
    assert str(read(path)[0].columns) == "('key', 'all')"
    (chunk,) = read(path)[0].chunks()
    assert [str(kind) for kind in chunk.table.schema.types] == ["double", "int64"]


def test_a_value_that_means_missing_among_fractions_and_texts(tmp_path):
    path = tmp_path / "clients.sav"
    frame = pd.DataFrame({"AGE": [25.0, -9.0, 99.5], "region": ["N", "S", "-"]})
    pyreadstat.write_sav(frame, str(path), missing_ranges={"AGE": [{"lo": -10, "hi": -1}], "region": ["-"]})
    source, _, columns = read(path, ["AGE"])
    assert columns == {"AGE": [25, -9, 99.5], "region": ["N", "S", "-"]}
    assert np.array_equal(numbers(source, "AGE"), [25, np.nan, 99.5], equal_nan=True)
    assert "got -9.0 (missing, as the file defines it)" in reasons(source, "AGE")[1]


def test_empty_columns_and_a_file_without_rows(tmp_path):
    path = tmp_path / "clients.sav"
    pyreadstat.write_sav(pd.DataFrame({"AGE": [np.nan, np.nan], "note": ["", ""]}), str(path))
    assert read(path)[2] == {"AGE": [None, None], "note": [None, None]}
    pyreadstat.write_sav(pd.DataFrame({"AGE": np.array([], float)}), str(path))
    source, rows, columns = read(path, ["AGE"])
    assert rows == [] and columns == {"AGE": []} and source.fields.names == {"AGE": "AGE"}


def test_text_of_another_alphabet(tmp_path):
    path = tmp_path / "clients.sav"
    pyreadstat.write_sav(pd.DataFrame({"note": ["\u53f0\u5317", "S\u00e3o Paulo \u20ac"]}), str(path))
    assert read(path)[2]["note"] == ["\u53f0\u5317", "S\u00e3o Paulo \u20ac"]


# Names and labels


def test_a_label_counts_where_the_name_is_not_known(tmp_path):
    path = tmp_path / "survey.sav"
    frame = pd.DataFrame({"Q1": [25.0], "Q2": [2.0], "AGE_GRP": [3.0]})
    pyreadstat.write_sav(frame, str(path), column_labels=["AGE", "Sex", "Age group"])
    source, _, columns = read(path, ["AGE", "SEX"])
    assert source.columns == ("Q1", "Q2", "AGE_GRP") and columns["Q1"] == [25]
    assert (
        source.fields.names == {"AGE": "Q1", "SEX": "Q2"}
        and "by their labels: Q1 is AGE, Q2 is SEX" in source.notes
    )


def test_a_name_counts_more_than_a_label():
    assert find_labelled({"AGE": "SEX", "SEX": "AGE", "Q1": "AGE"}, ["AGE", "SEX"]) == {
        "AGE": "AGE",
        "SEX": "SEX",
    }


def test_two_columns_of_one_label_are_refused_only_if_they_are_needed():
    labels = {"Q1": "AGE", "Q2": "AGE", "SEX": None}
    assert find_labelled(labels, ["SEX"]) == {"SEX": "SEX"}
    with pytest.raises(DataError, match="the columns Q1 and Q2 have the same label, AGE"):
        find_labelled(labels, ["AGE"])


# Refusals


@pytest.mark.parametrize("suffix", [*WRITERS, ".sas7bdat"])
@pytest.mark.parametrize("content", [b"", b"ID,AGE\n1,25\n" * 50], ids=["empty", "csv"])
def test_what_is_no_such_file_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"clients{suffix}"
    path.write_bytes(content)
    for place in (path, Held(path.name, content)):
        with pytest.raises(DataError, match=r"clients\S+ cannot be read as .*: it may be cut short"):
            read(place)


@pytest.mark.parametrize("suffix", [".sav", ".zsav", ".dta"])
def test_a_file_that_is_cut_short_is_refused(tmp_path, suffix):
    path = tmp_path / f"clients{suffix}"
    WRITERS[suffix](pd.DataFrame({"AGE": np.arange(5_000.0) + 0.25}), str(path))
    path.write_bytes(path.read_bytes()[:-9_000])
    with pytest.raises(DataError, match="cannot be read"):
        read(path)


def test_a_transport_file_that_is_cut_short_is_refused(tmp_path):
    "pyreadstat reads it as a shorter one."
    path = tmp_path / "clients.xpt"
    WRITERS[".xpt"](pd.DataFrame({f"C{at}": np.arange(1_000.0) + 0.25 for at in range(24)}), str(path))
    whole = path.read_bytes()
    assert read(path)[1] == list(range(1, 1_001))
    for size in (len(whole) - 3, len(whole) - 80, len(whole) // 2, len(whole) // 240 * 80):
        assert len(pyreadstat.read_xport(BytesIO(whole[:size]))[0]) < 1_000
        path.write_bytes(whole[:size])
        for place in (path, Held(path.name, whole[:size])):
            with pytest.raises(DataError, match="is cut short"):
                read(place)


def test_a_transport_file_of_two_tables_is_refused(tmp_path):
    "pyreadstat takes the second for more rows of the first."
    parts = []
    for name, frame in (("JUNE", {"AGE": [25.0, 31.0], "T": ["abc", "d"]}), ("JULY", {"AGE": [1.0, 2.0]})):
        path = tmp_path / f"{name}.xpt"
        pyreadstat.write_xport(pd.DataFrame(frame), str(path), file_format_version=5, table_name=name)
        parts.append(path.read_bytes())
    both = parts[0] + parts[1][240:]  # without its heading of the library
    assert len(pyreadstat.read_xport(BytesIO(both))[0]) > 3
    with pytest.raises(DataError, match=r"holds 2 tables \(JUNE, JULY\)"):
        read(Held("both.xpt", both))
    assert [read(Held("one.xpt", part))[1] for part in parts] == [[1, 2], [1, 2]]


def test_the_package_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(errors, "find_spec", lambda name: None)
    with pytest.raises(
        PackageError, match=r'pip install "rumos_bank\[statistics\]", or save the table as .csv'
    ):
        open_statistical(Path("clients.sav"), Selection(), [])


def test_a_place_in_another_store_is_refused():
    with pytest.raises(DataError, match="copy it here"):
        open_statistical("s3://bank/clients.sav", Selection(), [])


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot be read as SPSS"):
        open_statistical(tmp_path / "none.sav", Selection(), [])


# Labels that contradict their codes


LABELLED_R = """
library(haven)
d <- data.frame(ID = 1:3, SEX = 1:3 - 1)
d$EDUCATION <- factor(c(2, 0, 6), levels = 0:6)
write_sav(d, "a.sav")
write_dta(d, "a.dta")
"""


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="needs Rscript")
@pytest.mark.parametrize("suffix", [".sav", ".dta"])
def test_the_positions_of_a_factor_of_r_are_no_codes(tmp_path, suffix):
    subprocess.run(["Rscript", "-e", LABELLED_R], cwd=tmp_path, check=True, capture_output=True)
    path = tmp_path / f"a{suffix}"
    with pytest.raises(DataError, match="EDUCATION: code 1 is labelled '0': write the numbers themselves"):
        open_statistical(path, Selection(), ["EDUCATION"])
    open_statistical(path, Selection(), ["SEX"])  # a column that is not needed may be labelled anyhow


def test_the_positions_of_a_category_of_pandas_are_no_codes(tmp_path):
    frame = pd.DataFrame({"PAY_0": pd.Categorical([-2, 0, 2]), "ID": pd.Categorical([77, 78, 79])})
    with pytest.warns(match="non-string|value label"):
        frame.to_stata(tmp_path / "a.dta", write_index=False)
    for needed in (["PAY_0"], []):
        with pytest.raises(DataError, match=r"code 0 is labelled '(-2|77)'"):
            open_statistical(tmp_path / "a.dta", Selection(), needed)


@pytest.mark.parametrize(
    ("name", "labels", "says"),
    [
        ("SEX", {1: "female", 2: "male"}, "code 1 is labelled 'female', which is code 2"),
        ("MARRIAGE", {1: "Single"}, "which is code 2"),
        ("MARRIAGE", {0: "Others"}, "which is code 3"),
        ("EDUCATION", {1: "high-school"}, "which is code 3"),
        ("PAY_0", {1: "2 months late"}, "which is code 2"),
        ("PAY_0", {0: "Paid in full"}, "which is code -1"),
        ("AGE", {2: "31"}, "code 2 is labelled '31'"),
        ("SEX", {1: "1: Male", 2: "(2) FEMALE"}, ""),
        ("EDUCATION", {0: "unknown", 4: "others", 5: "unknown", 6: "Unknown", 2: "degree", 1: "1"}, ""),
        ("PAY_0", {-1.0: "-1", 0.0: "0", 2: "2 months late", 9: "9 months late or more"}, ""),
        ("LIMIT_BAL", {9999998: "refused", 1000000: "1.000.000"}, ""),
        ("AGE", {"a": "97"}, ""),
    ],
)
def test_labels_that_contradict_their_codes(name, labels, says):
    assert says in find_label_fault(name, labels) and bool(find_label_fault(name, labels)) == bool(says)
