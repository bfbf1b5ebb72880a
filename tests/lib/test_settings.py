"One file and one reader: what is allowed, what is refused, and what overrides what."

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from rumos_bank.ground.errors import SettingsError
from rumos_bank.ground.settings import (
    PACKAGED,
    Costs,
    Settings,
    find_settings,
    override_setting,
    read_settings,
)
from rumos_bank.model.families import FAMILIES

TOP = Path(__file__).parents[2] / "settings.ini"


@pytest.fixture
def write(tmp_path):
    "Write a settings file and give back its path."

    def write_text(text: str) -> Path:
        path = tmp_path / "settings.ini"
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


def test_the_packaged_file_is_the_one_at_the_top():
    assert PACKAGED.read_bytes() == TOP.read_bytes()


def test_the_file_holds_the_defaults():
    read, default = read_settings(TOP, environ={}), Settings()
    lists_without_default = {("data", "sources"), ("model", "families")}
    compared = 0
    for section in Settings.model_fields.keys() - {"home", "behind_loopback"}:
        assert isinstance(getattr(read, section), BaseModel)
        for key in type(getattr(read, section)).model_fields:
            if (section, key) not in lists_without_default:
                assert getattr(getattr(read, section), key) == getattr(getattr(default, section), key)
                compared += 1
    assert compared == 90


def test_every_key_stands_in_the_file():
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(TOP.read_text(encoding="utf-8"))
    allowed = {
        name: set(type(getattr(Settings(), name)).model_fields)
        for name in Settings.model_fields.keys() - {"home", "behind_loopback"}
    }
    assert {name: set(parser[name]) for name in parser.sections()} == allowed


def test_the_lists_of_the_file():
    read = read_settings(TOP, environ={})
    assert len(read.data.sources) == 4 and all(source.startswith("https://") for source in read.data.sources)
    assert sorted(read.model.families) == sorted(FAMILIES)


def test_the_bank_costs():
    assert Costs().bayes_threshold == 0.25
    assert Costs(false_positive=1, false_negative=99).bayes_threshold == 0.01


@pytest.mark.parametrize(
    "text, hint",
    [
        ("[costs]\nfalse_positiv = 1", "did you mean false_positive?"),
        ("[cost]\nfalse_positive = 1", "did you mean costs?"),
        (
            "[zebra]\nstripes = 1",
            "allowed: api, audit, canary, cases, costs, data, desk, gates, grades, inventory, leak, ledger, letters, mlflow, model, ports, refer, shadow, split, store, stress, watch",
        ),
        ("[home]\nhome = x", "unknown section"),
        ("[DEFAULT]\nrepo = bank\nlib_name = bank", "[DEFAULT] : unknown section"),
    ],
)
def test_unknown_sections_and_keys_are_refused_with_a_hint(write, text, hint):
    path = write(text)
    with pytest.raises(SettingsError) as caught:
        read_settings(path, environ={})
    assert hint in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    "name, hint",
    [
        ("RUMOS_COSTS_FALSE_POSITIV", "did you mean RUMOS_COSTS_FALSE_POSITIVE?"),
        ("RUMOS_SETTING", "did you mean RUMOS_SETTINGS?"),
    ],
)
def test_unknown_variables_are_refused_with_a_hint(name, hint):
    with pytest.raises(SettingsError) as caught:
        read_settings(TOP, environ={name: "1"})
    assert name in str(caught.value) and hint in str(caught.value)


def test_variables_of_other_programs_are_ignored():
    assert read_settings(TOP, environ={"COSTS_FALSE_POSITIVE": "7"}).costs.false_positive == 1000


@pytest.mark.parametrize(
    "section, key, value",
    [
        ("costs", "false_positive", "0"),
        ("costs", "false_negative", "nan"),
        ("costs", "false_negative", "inf"),
        ("data", "on_missing_data", "guess"),
        ("data", "offline_after", "-1"),
        ("split", "test_share", "1"),
        ("split", "seed", "4.5"),
        ("split", "folds", "1"),
        ("model", "prefer", "much"),
        ("store", "registered_model", "a/b"),
        ("ports", "api", "80"),
    ],
)
def test_impossible_values_are_refused_where_they_stand(write, section, key, value):
    path = write(f"[{section}]\n{key} = {value}")
    with pytest.raises(SettingsError) as caught:
        read_settings(path, environ={})
    assert f"{path}: [{section}] {key}:" in str(caught.value) and repr(value) in str(caught.value)


@pytest.mark.parametrize(
    "key, lines, message",
    [
        ("bounds", "bounds = 0.2, 0.1\nnames = a, b, c", "upper bounds must rise, above 0 and below 1"),
        ("bounds", "bounds = 0.1, 0.1\nnames = a, b, c", "upper bounds must rise"),
        ("bounds", "bounds = 0, 0.1\nnames = a, b, c", "upper bounds must rise"),
        ("bounds", "bounds = 0.1, 1\nnames = a, b, c", "upper bounds must rise"),
        ("bounds", "bounds = nan\nnames = a, b", "upper bounds must rise"),
        ("bounds", "bounds =\nnames = a", "upper bounds must rise"),
        ("names", "bounds = 0.1, 0.2\nnames = a, b", "the bounds make 3 grades, so 3 different names"),
        ("names", "bounds = 0.1, 0.2\nnames = a, b, b", "the bounds make 3 grades, so 3 different names"),
        ("names", "bounds = 0.1, 0.2", "the bounds make 3 grades"),  # the usual names are eight
    ],
)
def test_a_master_scale_rises_and_names_every_grade(write, key, lines, message):
    path = write(f"[grades]\n{lines}")
    with pytest.raises(SettingsError) as caught:
        read_settings(path, environ={})
    assert f"[grades] {key}: {message}" in str(caught.value)


def test_a_master_scale_of_the_bank(write):
    read = read_settings(write("[grades]\nbounds = .1\n  .2\nnames = low, middle, high"), environ={})
    assert read.grades.bounds == (0.1, 0.2) and read.grades.names == ("low", "middle", "high")


def test_all_problems_are_named_at_once_each_with_its_origin(write):
    path = write("[costs]\nfalse_positive = -1\n[ports]\napi = 80\n[home]\npath = x")
    wrong = dict.fromkeys(["RUMOS_SPLIT_FOLDS", "RUMOS_SPLIT_FOLD", "RUMOS_COST"], "1")
    with pytest.raises(SettingsError) as caught:
        read_settings(path, environ=wrong)
    text = str(caught.value)
    assert f"{path}: [home]: unknown section" in text and len(text.splitlines()) == 1 + 6
    assert "unknown variable RUMOS_SPLIT_FOLD: did you mean RUMOS_SPLIT_FOLDS?" in text
    assert "unknown variable RUMOS_COST: " in text
    assert f"{path}: [costs] false_positive" in text and f"{path}: [ports] api" in text
    assert "RUMOS_SPLIT_FOLDS: [split] folds" in text


@pytest.mark.parametrize("text", ["no section = 1", "[costs]\n[costs]", "[costs\nx = 1"])
def test_a_file_that_is_no_ini_is_refused(write, text):
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(write(text), environ={})


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "latin.ini").write_bytes("[store]\npath = Zürich".encode("latin-1"))
    for unreadable in (tmp_path, tmp_path / "latin.ini"):
        with pytest.raises(SettingsError, match="cannot be read"):
            read_settings(unreadable, environ={})


def test_a_named_file_that_is_missing_is_refused(tmp_path):
    missing = tmp_path / "nowhere.ini"
    with pytest.raises(SettingsError, match=r"nowhere.ini does not exist: correct RUMOS_SETTINGS"):
        read_settings(environ={"RUMOS_SETTINGS": str(missing)})


def test_the_nearest_file_upward_is_found(tmp_path, write):
    deep = tmp_path / "nbs" / "lib"
    deep.mkdir(parents=True)
    top = write("[costs]\nfalse_positive = 10")
    assert find_settings(deep, environ={}) == top
    (tmp_path / "nbs" / "settings.ini").write_text("[costs]\nfalse_positive = 20")
    assert find_settings(deep, environ={}) == tmp_path / "nbs" / "settings.ini"


def test_without_a_file_the_packaged_one_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_settings(environ={}) == PACKAGED
    assert read_settings(environ={}).home == tmp_path


def test_the_named_file_is_used_before_the_one_upward(tmp_path, write, monkeypatch):
    write("[costs]\nfalse_positive = 10")
    named = tmp_path / "other.ini"
    named.write_text("[costs]\nfalse_positive = 100")
    monkeypatch.chdir(tmp_path)
    assert read_settings(environ={}).costs.false_positive == 10
    assert read_settings(environ={"RUMOS_SETTINGS": str(named)}).costs.false_positive == 100


def test_variables_override_the_file(write):
    path = write("[costs]\nfalse_positive = 10\nfalse_negative = 100")
    costs = read_settings(path, environ={"RUMOS_COSTS_FALSE_POSITIVE": "1000"}).costs
    assert (costs.false_positive, costs.false_negative) == (1000, 100)


def test_variables_of_the_process_are_read(write, monkeypatch):
    path = write("[split]\nfolds = 3")
    monkeypatch.setenv("RUMOS_SPLIT_FOLDS", "7")
    assert read_settings(path).split.folds == 7


def test_an_option_of_the_command_line_overrides_the_file_for_this_process(write, monkeypatch):
    monkeypatch.setenv("RUMOS_MODEL_PREFER", "cheapest")  # put back at the end
    override_setting("model", "prefer", "simple")
    assert read_settings(write("[model]\nprefer = cheapest")).model.prefer == "simple"


def test_lists_by_lines_or_commas(write):
    read = read_settings(write("[model]\nfamilies =\n    A\n    B, C\n"), environ={})
    assert read.model.families == ("A", "B", "C")
    empty = read_settings(TOP, environ={"RUMOS_MODEL_FAMILIES": ""})
    assert empty.model.families == ()


def test_relative_paths_start_from_the_file(write, tmp_path):
    read = read_settings(write("[store]\npath = a/b\nreports = /absolute"), environ={})
    assert read.home == tmp_path
    assert read.store_path == tmp_path / "a" / "b" and read.reports_path == Path("/absolute")


@pytest.mark.parametrize("path", ["~/mlruns", "~no_such_user/mlruns"])
def test_the_folder_of_a_user_is_found_or_named_in_the_error(path, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    read = read_settings(TOP, environ={"RUMOS_STORE_PATH": path})
    if path.startswith("~/"):
        assert read.store_path == tmp_path / "mlruns"
        return
    for ask in (lambda: read.store_path, lambda: read_settings(environ={"RUMOS_SETTINGS": path})):
        with pytest.raises(SettingsError, match=r"~no_such_user/mlruns: no user of this name"):
            ask()


def test_settings_are_frozen():
    settings = read_settings(TOP, environ={})
    with pytest.raises(ValidationError, match="frozen"):
        settings.costs.false_positive = 1
    with pytest.raises(ValidationError, match="frozen"):
        settings.costs = Costs()
