"The data set: every layout, every public source, everything that can go wrong during a download."

import gzip
import io
import json
import threading
import time
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rumos_bank.data import sources
from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT, ID, TARGET, fingerprint
from rumos_bank.data.sources import load_dataset, read_table, sample_clients, split_clients, to_canonical
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


def as_zip(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("__readme.txt", "two files")
        archive.writestr(name, content)
    return buffer.getvalue()


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


LAYOUTS = {
    "named csv": as_csv,
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
    " Y",
)


@pytest.mark.parametrize("target", TARGET_NAMES)
def test_the_names_of_the_target(target):
    clients = make_clients()
    assert to_canonical(clients.rename(columns={TARGET: target})).equals(clients)


def test_names_in_any_case_any_order_and_with_extra_columns():
    clients = make_clients()
    odd = clients.rename(columns=lambda name: f" {name.lower()} ").rename(columns={" pay_0 ": "Pay_1"})
    assert to_canonical(odd.iloc[:, ::-1].assign(note="x")).equals(clients)


def test_two_columns_for_one_field_are_refused():
    with pytest.raises(DataError, match="more than one column means PAY_0"):
        to_canonical(make_clients().assign(PAY_1=0))


def test_a_target_is_needed():
    with pytest.raises(DataError, match=TARGET):
        to_canonical(make_clients().drop(columns=TARGET))


def test_to_canonical_does_not_change_its_argument():
    text = make_clients().astype(str)
    before = text.copy()
    assert to_canonical(text).equals(make_clients())
    assert text.equals(before)


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
        read_table(tmp_path / "bomb")


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
    content = as_csv(clients)

    def send_slowly(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content) + 20_000))
        handler.end_headers()
        for part in (b"\n" * 20_000, content):  # pandas skips blank lines
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
    with pytest.raises(DataError, match=r"cannot be read as a table|no column has a known name"):
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
    with pytest.raises(DataError, match=r"mine.csv.gz: cannot be read as a table"):
        load_dataset(strict, ["mine.csv.gz", "twin"])


def test_a_spreadsheet_of_the_new_kind_names_what_to_do(tmp_path, strict):
    (tmp_path / "mine.xlsx").write_bytes(as_zip("xl/sheet1.xml", b"<xml/>"))
    with pytest.raises(DataError, match=r"save it as \.csv"):
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
    monkeypatch.setattr(sources, "read_table", lambda path: read.append(path) or read_table(path))
    assert load_dataset(strict, ["data"]).clients.equals(clients) and len(read) == 1


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
