"What is not tested is reported: skipped where people work, a failure where CI is set."

import os

import pytest
from lacking import skip_without


@pytest.mark.parametrize(
    ("ci", "user", "by_root", "outcome"),
    [
        ("", 0, False, pytest.skip.Exception),
        ("true", 0, False, pytest.fail.Exception),
        ("true", 1000, False, pytest.fail.Exception),
        ("true", 0, True, pytest.fail.Exception),
        ("true", 1000, True, pytest.skip.Exception),
    ],
)
def test_a_missing_tool_fails_where_it_could_have_been_installed(monkeypatch, ci, user, by_root, outcome):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with pytest.raises(outcome, match="no such tool"):
        skip_without("no such tool", by_root)
