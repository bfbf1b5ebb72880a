"The data set: every layout, every public source, everything that can go wrong during a download."

import gzip
import io
import json
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rumos_bank.data import sources
from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT, ID, TARGET, fingerprint
from rumos_bank.data.sources import load_dataset, open_labelled, sample_clients, split_clients, to_canonical
from rumos_bank.ground.errors import DataError, ParameterError, SettingsError
from rumos_bank.ground.settings import DataSettings, Settings, SplitSettings

X_NAMES = [f"X{number}" for number in range(1, 24)]


def make_clients(n: int = 12) -> pd.DataFrame:
    rows = [
        {ID: row + 1, **EXAMPLE_CLIENT, "LIMIT_BAL": 10_000 * (row + 1), TARGET: row % 3 == 0}
        for row in range(n)
    ]
    return pd.DataFrame(rows).astype("int64")


def as_csv(clients: pd.DataFrame) -> bytes:
    return clients.to_csv(index=False).encode()


def as_uci_csv(clients: pd.DataFrame) -> bytes:
    numbered = clients.set_axis([ID, *X_NAMES, "Y"], axis="columns")
    return as_csv(numbered).replace(b",100000,", b",1e+05,")


def as_parquet(clients: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    lower = clients.drop(columns=ID).set_axis([*map(str.lower, X_NAMES), "y"], axis="columns")
    lower.assign(y=lower["y"].astype(str).astype("category")).to_parquet(buffer)
    return buffer.getvalue()


def as_arff(clients: pd.DataFrame) -> bytes:
    names = [f"@ATTRIBUTE {name.lower()} INTEGER" for name in X_NAMES]
    rows = clients.drop(columns=ID).to_csv(index=False, header=False)
    return "\n".join(
        ["% a comment", "@RELATION credit", *names, "@ATTRIBUTE y {0,1}", "@DATA", rows]
    ).encode()


def as_xls(clients: pd.DataFrame) -> bytes:
    import xlwt

    workbook = xlwt.Workbook()
    sheet = workbook.add_sheet("Data")
    second = [ID, *CLIENT_COLUMNS, "default payment next month"]
    for row, values in enumerate([["", *X_NAMES, "Y"], second, *clients.to_numpy().tolist()]):
        for column, value in enumerate(values):
            sheet.write(row, column, value)
    buffer = io.BytesIO()
    workbook.save(buffer)
    return buffer.getvalue()


def as_zip(name: str, content: bytes, others: Mapping[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("__readme.txt", "two files")
        for each, held in {name: content, **(others or {})}.items():
            archive.writestr(each, held)
    return buffer.getvalue()


@pytest.fixture
def read(tmp_path):
    "The canonical clients of a file with this content."

    def read_content(content: bytes) -> pd.DataFrame:
        (tmp_path / "copy").write_bytes(content)
        return to_canonical(open_labelled(tmp_path / "copy"))

    return read_content


class Site:
    "A public source on the loopback address: a list of answers for each path, the last one for good."

    def __init__(self) -> None:
        self.answers: dict[str, list] = {}
        self.hits: Counter = Counter()
        self.closing = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answers = site.answers.get(self.path, [404])
                answer = answers[min(site.hits[self.path], len(answers) - 1)]
                site.hits[self.path] += 1
                if callable(answer):
                    answer(self)
                elif isinstance(answer, int):
                    self.send_error(answer)
                else:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}).start()

    def serve(self, path: str, *answers: object) -> str:
        self.answers[path] = list(answers)
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def site(monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(sources, "_PAUSES", (0, 0.01, 0.01))
    site = Site()
    yield site
    site.close()


@pytest.fixture
def clients(monkeypatch) -> pd.DataFrame:
    "Twelve clients that pass for the bank's data set."
    clients = make_clients()
    monkeypatch.setattr(sources, "UCI_FINGERPRINT", fingerprint(clients))
    monkeypatch.setattr(sources, "UCI_CLIENTS", 12)
    monkeypatch.setattr(sources, "UCI_DEFAULTS", 4)
    return clients


@pytest.fixture
def strict(tmp_path) -> Settings:
    "Settings that stop when no source answers."
    data = DataSettings(cache="cache", on_missing_data="stop", offline_after=10)
    return Settings(home=tmp_path, data=data)


@pytest.fixture
def no_twin(monkeypatch):
    "Fails the test if synthetic clients are made."
    monkeypatch.setattr(sources, "_make_synthetic_dataset", lambda *_: pytest.fail("a twin was made"))


def cached(settings: Settings) -> list[Path]:
    folder = settings.home / "cache"
    return list(folder.iterdir()) if folder.exists() else []


def as_second_heading(clients: pd.DataFrame) -> bytes:
    "As UCI's spreadsheet, saved as text."
    named = clients.rename(columns={TARGET: "default payment next month"})
    return f",{','.join(X_NAMES)},Y\n".encode() + as_csv(named)


def as_workbook(clients: pd.DataFrame, ending: str) -> bytes:
    buffer = io.BytesIO()
    clients.to_excel(buffer, index=False, engine={"xlsx": "openpyxl", "ods": "odf"}[ending])
    return buffer.getvalue()


def as_feather(clients: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    clients.to_feather(buffer)
    return buffer.getvalue()


LAYOUTS = {
    "named csv": as_csv,
    "csv with semicolons": lambda clients: clients.to_csv(index=False, sep=";").encode(),
    "csv in UTF-16": lambda clients: clients.to_csv(index=False, sep="\t").encode("utf-16"),
    "csv with decimals": lambda clients: as_csv(clients.astype({"LIMIT_BAL": float, TARGET: float})),
    "csv with two headings": as_second_heading,
    "zipped csv of a Mac": lambda clients: as_zip(
        "data.csv", as_csv(clients), {"__MACOSX/._data.csv": b"\0"}
    ),
    "xlsx": lambda clients: as_workbook(clients, "xlsx"),
    "ods": lambda clients: as_workbook(clients, "ods"),
    "zipped xlsx": lambda clients: as_zip("data.xlsx", as_workbook(clients, "xlsx")),
    "feather": as_feather,
    "json lines": lambda clients: clients.to_json(orient="records", lines=True).encode(),
    "uci csv": as_uci_csv,
    "gzipped csv": lambda clients: gzip.compress(as_csv(clients)),
    "csv with BOM": lambda clients: b"\xef\xbb\xbf" + as_csv(clients),
    "xls": as_xls,
    "zipped xls": lambda clients: as_zip("default of credit card clients.xls", as_xls(clients)),
    "parquet": as_parquet,
    "arff": as_arff,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_from_a_file(layout, tmp_path, clients, strict):
    (tmp_path / "data.bin").write_bytes(LAYOUTS[layout](clients))
    dataset = load_dataset(strict, ["data.bin"])
    assert dataset.clients.equals(clients)
    assert (dataset.fingerprint, dataset.source, dataset.is_twin) == (fingerprint(clients), "data.bin", False)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_from_a_server(layout, site, clients, strict):
    address = site.serve("/download", LAYOUTS[layout](clients))
    dataset = load_dataset(strict, [address])
    assert dataset.clients.equals(clients) and dataset.source == address


TARGET_NAMES = (
    "default payment next month",
    "default.payment.next.month",
    "default_payment_next_month",
    "DEFAULT PAYMENT NEXT MONTH",
    " Y",
    "y",
    "dpnm",
    "DPNM",
    "def_pay",
    "class",
    "Class",
)


@pytest.mark.parametrize("target", TARGET_NAMES)
def test_the_names_of_the_target(target, read):
    clients = make_clients()
    assert read(as_csv(clients.rename(columns={TARGET: target}))).equals(clients)


NAMES = {  # a name of a public copy → what it means
    "limit_bal": "LIMIT_BAL",
    " Limit Bal ": "LIMIT_BAL",
    "PAY_1": "PAY_0",
    "PAY.0": "PAY_0",
    "PAY0": "PAY_0",
    "Pay.1": "PAY_0",
    "pay 2": "PAY_2",
    "BILL_AMT_1": "BILL_AMT1",
    "bill.amt1": "BILL_AMT1",
    "BillAmt6": "BILL_AMT6",
    "PAY_AMT_6": "PAY_AMT6",
    "id": ID,
    "Id": ID,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_field_by_another_name(name, read):
    clients = make_clients().assign(PAY_0=3, PAY_2=2, BILL_AMT1=7, BILL_AMT6=8, PAY_AMT6=9)
    assert read(as_csv(clients.rename(columns={NAMES[name]: name}))).equals(clients)


NUMBERED = {
    "capitals": X_NAMES,
    "small letters": [name.lower() for name in X_NAMES],
    "blanks": [f" {name} " for name in X_NAMES],
}


@pytest.mark.parametrize("with_id", [True, False])
@pytest.mark.parametrize("names", NUMBERED)
def test_numbered_names(names, with_id, read):
    clients = make_clients()
    copy = clients.set_axis([ID, *NUMBERED[names], "Y"], axis="columns")
    assert read(as_csv(copy if with_id else copy.drop(columns=ID))).equals(clients)


@pytest.mark.parametrize("first", ["", "Unnamed: 0", "ID"])
def test_numbered_names_above_the_names(first, read):
    clients = make_clients().assign(ID=np.arange(41, 53))
    content = as_second_heading(clients)
    assert read(first.encode() + content).equals(clients)


def test_numbered_names_are_names_only_if_all_are_there(read):
    copy = make_clients().set_axis([ID, *X_NAMES, "Y"], axis="columns")
    with pytest.raises(DataError, match="lacks columns that the data set needs"):
        read(as_csv(copy.drop(columns="X23")))


def test_names_in_any_case_any_order_and_with_extra_columns(read):
    clients = make_clients()
    odd = clients.rename(columns=lambda name: f" {name.lower()} ").rename(columns={" pay_0 ": "Pay_1"})
    assert read(as_csv(odd.iloc[:, ::-1].assign(note="x"))).equals(clients)


@pytest.mark.parametrize(
    ("one", "other"), [("PAY_0", "PAY_1"), (TARGET, "Y"), (TARGET, "def_pay"), (ID, "id"), ("AGE", "age")]
)
def test_two_columns_for_one_field_are_refused_by_name(one, other, read):
    with pytest.raises(DataError, match=f"the columns {one} and {other} mean the same, {one}: keep one"):
        read(as_csv(make_clients().assign(**{other: 0})))


def test_a_target_is_needed(read):
    with pytest.raises(DataError, match=f"lacks columns that the data set needs: {TARGET}"):
        read(as_csv(make_clients().drop(columns=TARGET)))


def test_an_id_that_is_missing_is_the_row_and_one_that_is_there_stays_exact(read):
    clients = make_clients()
    assert read(as_csv(clients.drop(columns=ID)))[ID].tolist() == list(range(1, 13))
    long = clients.assign(ID=np.arange(12) + 123_456_789_012_345_671)
    assert read(as_csv(long))[ID].tolist() == long[ID].tolist()
    assert read(as_feather(long))[ID].tolist() == long[ID].tolist()


def test_every_cell_that_breaks_the_contract_is_named_by_its_row(read):
    text = as_csv(make_clients()).decode().splitlines()
    text[1] = text[1].replace(",25,", ",young,")
    text[3] = text[3][:-1] + "2"
    with pytest.raises(DataError) as caught:
        read("\n".join(text).encode())
    assert "row 2: AGE must be a whole number between 18 and 120 years, got 'young'" in str(caught.value)
    assert f"row 4: {TARGET} must be one of the codes 0 to 1, got 2" in str(caught.value)


def test_a_number_with_two_readings_is_refused_with_the_one_that_is_allowed(read):
    clients = make_clients().astype(object)
    clients["LIMIT_BAL"] = "20.000"
    with pytest.raises(DataError, match=r"row 2: LIMIT_BAL .* got '20\.000': write 20000"):
        read(clients.to_csv(index=False).encode())


def test_lines_that_are_no_rows_are_named(read):
    with pytest.raises(DataError, match=r"row 3 \(line 3\) has 26 cells and the heading 25"):
        read(as_csv(make_clients()).replace(b"\n2,", b"\n2,0,"))
    with pytest.raises(DataError, match=r"row 3 \(line 3\) has a quotation mark .* never closed"):
        read(as_csv(make_clients()).replace(b"\n2,", b'\n"2,'))


def test_two_tables_in_a_zip_file_are_not_guessed(read):
    clients = as_csv(make_clients())
    with pytest.raises(DataError, match=r"must hold one table .* and it holds a\.csv, b\.csv"):
        read(as_zip("a.csv", clients, {"b.csv": clients}))


@pytest.mark.parametrize("orient", ["records", "columns", "split", "table"])
def test_json_is_refused_at_once(orient, tmp_path, strict, no_twin):
    many = pd.concat([make_clients()] * 5_000).reset_index(drop=True)
    many.to_json(tmp_path / "clients.csv", orient=orient)
    start = time.monotonic()
    with pytest.raises(DataError, match=r"clients\.csv is JSON, one value for the whole file"):
        load_dataset(strict, ["clients.csv"])
    assert time.monotonic() - start < 5


def test_what_is_no_table_is_named(read):
    for content, what in ((b"%PDF-1.7 etc", "is a PDF"), (b"SQLite format 3\0", "is a SQLite database")):
        with pytest.raises(DataError, match=what):
            read(content)


def test_how_the_file_was_read_is_kept(tmp_path, clients, strict):
    renamed = clients.rename(columns={TARGET: "dpnm"})
    (tmp_path / "data.bin").write_bytes(renamed.to_csv(index=False, sep=";").encode())
    notes = load_dataset(strict, ["data.bin"]).notes
    assert notes == f"read as CSV; semicolons between cells; columns by other names: dpnm as {TARGET}"
    assert load_dataset(strict, ["twin"]).notes == ""


def test_a_second_run_does_not_download_again(site, clients, strict):
    address = site.serve("/data.csv", as_csv(clients))
    first, second = load_dataset(strict, [address]), load_dataset(strict, [address])
    assert first.clients.equals(second.clients)
    assert site.hits["/data.csv"] == 1


def test_a_cached_source_is_asked_before_one_that_is_down(site, clients, strict):
    down, good = site.serve("/down", 404), site.serve("/data.csv", as_csv(clients))
    load_dataset(strict, [down, good], notify=lambda _: None)
    assert load_dataset(strict, [down, good]).source == good
    assert site.hits["/down"] == 1


def test_a_twin_named_first_stays_first(site, clients, strict, monkeypatch):
    address = site.serve("/data.csv", as_csv(clients))
    load_dataset(strict, [address])
    monkeypatch.setattr(sources, "_make_synthetic_dataset", lambda *_: "the twin")
    assert load_dataset(strict, ["twin", address]) == "the twin"


def test_a_wrong_fingerprint_is_reported_and_the_next_source_tried(site, clients, strict):
    wrong = site.serve("/wrong.csv", as_csv(clients.assign(AGE=26)))
    right = site.serve("/right.csv", as_csv(clients))
    messages: list[str] = []
    assert load_dataset(strict, [wrong, right], notify=messages.append).source == right
    assert len(messages) == 1 and messages[0].startswith(wrong) and "some values" in messages[0]
    assert [path.name.endswith("right.csv") for path in cached(strict)] == [True]


@pytest.mark.parametrize("broken", [404, b"<html>please log in</html>", b"", b"PAR1 and no more"])
def test_a_useless_answer_leads_to_the_next_source(broken, site, clients, strict):
    first, second = site.serve("/first", broken), site.serve("/second", as_csv(clients))
    assert load_dataset(strict, [first, second], notify=lambda _: None).source == second
    assert len(cached(strict)) == 1


def test_a_404_is_final(site, strict):
    address = site.serve("/gone", 404)
    with pytest.raises(DataError, match="the server answered 404"):
        load_dataset(strict, [address], notify=lambda _: None)
    assert site.hits["/gone"] == 1


def test_a_server_that_fails_is_asked_again(site, clients, strict):
    address = site.serve("/data.csv", 500, 503, as_csv(clients))
    assert load_dataset(strict, [address]).source == address
    assert site.hits["/data.csv"] == 3


def test_attempts_are_bounded(site, strict):
    address = site.serve("/data.csv", 500)
    with pytest.raises(DataError, match="the server answered 500"):
        load_dataset(strict, [address], notify=lambda _: None)
    assert site.hits["/data.csv"] == 3


def send_half(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"ID,LIMIT_BAL")


def test_a_truncated_download_is_not_kept(site, strict):
    address = site.serve("/data.csv", send_half)
    with pytest.raises(DataError, match="the download broke off"):
        load_dataset(strict, [address], notify=lambda _: None)
    assert site.hits["/data.csv"] == 3 and cached(strict) == []


def test_a_truncated_download_is_begun_anew(site, clients, strict):
    address = site.serve("/data.csv", send_half, as_csv(clients))
    assert load_dataset(strict, [address]).clients.equals(clients)


def send_without_length(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(b"x" * 5000)


@pytest.mark.parametrize("answer", [b"x" * 5000, send_without_length], ids=["announced", "not announced"])
def test_too_much_is_refused(answer, site, strict, monkeypatch):
    monkeypatch.setattr(sources, "_MOST_BYTES", 4000)
    with pytest.raises(DataError, match="more than 4,000 bytes"):
        load_dataset(strict, [site.serve("/huge", answer)], notify=lambda _: None)
    assert site.hits["/huge"] == 1 and cached(strict) == []


@pytest.mark.parametrize("pack", [gzip.compress, lambda content: as_zip("a.csv", content)])
def test_a_small_file_that_unpacks_to_too_much_is_refused(pack, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_MOST_BYTES", 4000)
    (tmp_path / "bomb").write_bytes(pack(b"x" * 5000))
    with pytest.raises(DataError, match="more than 4,000 bytes"):
        open_labelled(tmp_path / "bomb")


def test_silent_servers_together_take_no_longer_than_offline_after(site, strict):
    def send_nothing(handler: BaseHTTPRequestHandler) -> None:
        site.closing.wait(20)

    addresses = [site.serve(f"/{number}", send_nothing) for number in range(3)]
    impatient = strict.model_copy(update={"data": DataSettings(cache="cache", offline_after=0.6)})
    messages: list[str] = []
    start = time.monotonic()
    dataset = load_dataset(impatient, addresses, notify=messages.append)
    assert time.monotonic() - start < 3  # the deadline, and the time to make a twin
    assert dataset.is_twin and messages[-1].startswith("TWIN")
    assert (
        "no answer in the time" in messages[0] and "not asked" in messages[1] and "not asked" in messages[2]
    )


def test_a_slow_line_that_flows_may_go_past_offline_after(site, clients, strict, monkeypatch):
    content = as_csv(clients.assign(note="x" * 2_000))

    def send_slowly(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        for part in (content[:20_000], content[20_000:]):
            handler.wfile.write(part)
            time.sleep(0.6)

    monkeypatch.setattr(sources, "_SLOWEST", 10_000)
    impatient = strict.model_copy(update={"data": DataSettings(cache="cache", offline_after=0.3)})
    assert load_dataset(impatient, [site.serve("/slow", send_slowly)]).clients.equals(clients)


def test_a_server_that_does_not_listen(site, strict):
    address = site.serve("/data.csv", 404)
    site.close()
    with pytest.raises(DataError, match="cannot be reached"):
        load_dataset(strict, [address], notify=lambda _: None)


def describe(**links: str | None) -> bytes:
    return json.dumps({"data_set_description": {"id": "42477", "format": "ARFF", **links}}).encode()


def test_openml_parquet(site, clients, strict):
    parquet = site.serve("/data.pq", as_parquet(clients))
    arff = site.serve("/data.arff", as_arff(clients))
    address = site.serve("/api/v1/json/data/42477", describe(parquet_url=parquet, url=arff))
    dataset = load_dataset(strict, [address])
    assert dataset.clients.equals(clients) and dataset.source == address
    assert site.hits["/data.arff"] == 0


@pytest.mark.parametrize("parquet", [404, b"PAR1 damaged"])
def test_openml_arff_where_parquet_fails(parquet, site, clients, strict):
    links = {
        "parquet_url": site.serve("/data.pq", parquet),
        "url": site.serve("/data.arff", as_arff(clients)),
    }
    address = site.serve("/api/v1/json/data/42477", describe(**links))
    assert load_dataset(strict, [address]).clients.equals(clients)
    assert not [path for path in cached(strict) if path.name.endswith("data.pq")]


def test_openml_with_the_wrong_data_is_forgotten_as_a_whole(site, clients, strict):
    wrong = clients.assign(AGE=26)
    parquet = site.serve("/data.pq", as_parquet(wrong))
    address = site.serve("/api/v1/json/data/42477", describe(parquet_url=parquet))
    with pytest.raises(DataError, match="is not the bank's data set"):
        load_dataset(strict, [address], notify=lambda _: None)
    assert cached(strict) == []


def test_openml_without_a_useful_link_is_forgotten(site, clients, strict):
    links = describe(parquet_url=None, url="file:///etc/hostname")
    address = site.serve("/api/v1/json/data/42477", links)
    with pytest.raises(DataError, match="is JSON, one value for the whole file"):
        load_dataset(strict, [address], notify=lambda _: None)
    assert cached(strict) == []


def test_every_source_and_its_reason_are_listed(site, strict):
    first, second = site.serve("/a", 404), site.serve("/b", 403)
    with pytest.raises(DataError) as caught:
        load_dataset(strict, [first, second], notify=lambda _: None)
    text = str(caught.value)
    assert f"{first}: the server answered 404" in text and f"{second}: the server answered 403" in text
    assert "on_missing_data = twin" in text


def test_the_sources_of_the_settings_are_used(site, clients, tmp_path):
    address = site.serve("/data.csv", as_csv(clients))
    settings = Settings(home=tmp_path, data=DataSettings(sources=(address,), cache="cache"))
    assert load_dataset(settings).source == address


def test_a_twin_is_the_same_for_the_same_seed(strict):
    messages: list[str] = []
    one, two = (load_dataset(strict, ["twin"], notify=messages.append) for _ in range(2))
    assert one.is_twin and one.source == "twin" and one.fingerprint == two.fingerprint
    assert len(one.clients) == 30_000 and one.fingerprint == fingerprint(one.clients)
    assert all("synthetic" in line for line in messages) and len(messages) == 2


def test_a_missing_file_stops_the_run(strict, no_twin):
    with pytest.raises(DataError, match=r"nowhere\.csv: no such file or folder"):
        load_dataset(strict, ["nowhere.csv", "twin"])


def test_a_file_with_other_clients_stops_the_run_and_names_what_differs(tmp_path, strict, no_twin):
    (tmp_path / "mine.csv").write_bytes(as_csv(make_clients(12)))
    with pytest.raises(DataError) as caught:
        load_dataset(strict, ["mine.csv", "twin"])
    text = str(caught.value)
    assert "mine.csv" in text and "clients: 12, expected 30,000" in text
    assert "defaults: 4, expected 6,636" in text and fingerprint(make_clients(12))[:16] in text


def test_a_damaged_file_stops_the_run(tmp_path, strict, no_twin):
    (tmp_path / "mine.csv.gz").write_bytes(gzip.compress(as_csv(make_clients()))[:100])
    with pytest.raises(DataError, match=r"mine\.csv\.gz cannot be read as a table"):
        load_dataset(strict, ["mine.csv.gz", "twin"])


def test_a_damaged_workbook_stops_the_run(tmp_path, strict, no_twin):
    whole = as_workbook(make_clients(), "xlsx")
    (tmp_path / "mine.xlsx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"mine\.xlsx cannot be read as a table"):
        load_dataset(strict, ["mine.xlsx", "twin"])


def test_a_workbook_that_unpacks_to_too_much_is_refused(tmp_path, strict, monkeypatch):
    (tmp_path / "mine.xlsx").write_bytes(as_workbook(make_clients(200), "xlsx"))
    monkeypatch.setattr(sources, "_MOST_BYTES", (tmp_path / "mine.xlsx").stat().st_size)
    with pytest.raises(DataError, match=r"mine\.xlsx: unpacks to more than"):
        load_dataset(strict, ["mine.xlsx"])


def test_a_folder_is_its_first_file_with_a_known_layout(tmp_path, clients, strict):
    folder = tmp_path / "data"
    (folder / "a folder").mkdir(parents=True)
    (folder / "README.md").write_text("# The data\n\nsee below")
    (folder / "b.csv").write_bytes(as_uci_csv(clients))
    (folder / "c.csv").write_bytes(as_csv(clients.assign(AGE=26)))
    assert load_dataset(strict, ["data"]).source == "data/b.csv"


def test_a_folder_without_such_a_file_stops_the_run(tmp_path, strict, no_twin):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "README.md").write_text("# The data")
    with pytest.raises(DataError, match="no file in this folder has a known layout"):
        load_dataset(strict, ["data", "twin"])


def test_a_folders_file_is_read_once(tmp_path, clients, strict, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_bytes(as_csv(clients))
    read: list[Path] = []
    monkeypatch.setattr(sources, "open_labelled", lambda path: read.append(path) or open_labelled(path))
    assert load_dataset(strict, ["data"]).clients.equals(clients) and len(read) == 1


def test_a_folder_of_a_delta_table_is_the_table_and_not_its_files(tmp_path, clients, strict):
    deltalake = pytest.importorskip("deltalake")
    outdated = pa.Table.from_pandas(clients.assign(AGE=26), preserve_index=False)
    deltalake.write_deltalake(str(tmp_path / "data"), outdated)
    new = pa.Table.from_pandas(clients, preserve_index=False)
    deltalake.write_deltalake(str(tmp_path / "data"), new, mode="overwrite")
    dataset = load_dataset(strict, ["data"])
    assert dataset.clients.equals(clients) and "Delta" in dataset.notes


@pytest.mark.parametrize("question", ["exists", "iterdir"])
def test_what_may_not_be_read_stops_the_run(question, tmp_path, strict, no_twin, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "data").mkdir()
    monkeypatch.setattr(Path, question, refuse)
    with pytest.raises(DataError, match=r"data: cannot be read \(Permission denied\)"):
        load_dataset(strict, ["data", "twin"])


def test_a_folder_of_an_unknown_user_stops_the_run(strict, no_twin):
    with pytest.raises(SettingsError, match=r"~no_such_user/data: no user of this name"):
        load_dataset(strict, ["~no_such_user/data", "twin"])


def test_the_split_shares_out_every_client_once():
    clients = make_clients(100)
    train, test = split_clients(clients, SplitSettings(test_share=0.25, seed=3))
    assert (len(train), len(test)) == (75, 25)
    assert sorted([*train[ID], *test[ID]]) == list(clients[ID])
    assert split_clients(clients, SplitSettings(test_share=0.25, seed=3))[1].equals(test)
    assert not split_clients(clients, SplitSettings(test_share=0.25, seed=4))[1].equals(test)


def test_the_split_is_not_stratified():
    clients = make_clients(60)
    defaults = {int(split_clients(clients, SplitSettings(seed=seed))[1][TARGET].sum()) for seed in range(20)}
    assert len(defaults) > 1


def test_one_client_cannot_be_split():
    with pytest.raises(ParameterError, match="at least 2 clients, got 1"):
        split_clients(make_clients(1), SplitSettings())


def test_a_sample_keeps_the_order():
    clients = make_clients(50)
    few = sample_clients(clients, 20, seed=1)
    assert len(few) == few[ID].nunique() == 20 and few[ID].is_monotonic_increasing
    assert sample_clients(clients, 20, seed=1).equals(few)
    assert not sample_clients(clients, 20, seed=2).equals(few)
    for all_clients in (0, 50, 51):
        assert sample_clients(clients, all_clients, seed=1).equals(clients)


@pytest.mark.real
def test_the_real_data(real):
    assert real.fingerprint == sources.UCI_FINGERPRINT and not real.is_twin
    assert len(real.clients) == sources.UCI_CLIENTS == 30_000
    assert real.clients[TARGET].sum() == sources.UCI_DEFAULTS == 6_636
    assert np.isin(real.clients.dtypes, ["int64"]).all()


@pytest.mark.real
def test_the_known_costs_of_the_split(real):
    train, test = split_clients(real.clients, SplitSettings())
    defaults = int(test[TARGET].sum())
    assert (len(train), len(test)) == (24_000, 6_000)
    assert (3000 * defaults, 1000 * (len(test) - defaults)) == (3_939_000, 4_687_000)


@pytest.mark.real
@pytest.mark.parametrize("layout", ["uci csv", "zipped xls", "parquet", "arff"])
def test_the_real_data_in_other_layouts(layout, real, tmp_path):
    (tmp_path / "data").write_bytes(LAYOUTS[layout](real.clients))
    dataset = load_dataset(Settings(home=tmp_path), ["data"])
    assert dataset.fingerprint == sources.UCI_FINGERPRINT
