"""What comes with the sources and with the package: the license, and where weaknesses are reported."""

import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def test_the_license_is_the_one_that_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "MIT"
    assert project["license-files"] == ["LICENSE"]
    text = (ROOT / "LICENSE").read_text()
    assert text.startswith("MIT License\n")
    assert "Permission is hereby granted, free of charge" in text


def test_it_is_said_where_weaknesses_are_reported() -> None:
    assert "## Reporting\n" in (ROOT / "SECURITY.md").read_text()


def test_the_package_has_its_license(tmp_path: Path) -> None:
    wheels = pytest.importorskip("hatchling.builders.wheel", reason="what builds the package is not installed")
    (wheel,) = wheels.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as package:
        (folder,) = {name.split("/")[0] for name in package.namelist() if ".dist-info/" in name}
        assert package.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        assert b"\nLicense-Expression: MIT\n" in package.read(f"{folder}/METADATA")
