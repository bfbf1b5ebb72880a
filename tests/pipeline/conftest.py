"""A pipeline run made once for all tests, and places for others."""

import shutil
import subprocess
from pathlib import Path

import pytest
from places import ROOT, Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="session")
def quick(tmp_path_factory) -> tuple[Place, subprocess.CompletedProcess]:
    """One quick pipeline run with all families on synthetic clients, made once for all tests."""
    place = Place(tmp_path_factory.mktemp("quick"))
    return place, place.rumos("run", "--profile", "quick", timeout=600)


@pytest.fixture
def copied(tmp_path: Path) -> Place:
    """A repository of its own, whose library a test may break."""
    repository = tmp_path / "repository"
    for name in ("rumos_bank", "nbs"):
        shutil.copytree(ROOT / name, repository / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("settings.ini", "requirements.lock"):
        shutil.copy(ROOT / name, repository / name)
    return Place(tmp_path, repository)
