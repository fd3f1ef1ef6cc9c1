"""The console's files: what is sent, what is kept, and that the modules fit together."""

import gzip
import re
from pathlib import PurePosixPath

import brotli
import pytest

from api.console.files import PAGE, STATIC, console_files

MAX_COMPRESSED_BYTES = 150 * 1024
"""What script and style may weigh together, so that the console opens at once on a phone, too."""

MODULES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.js"))
OURS = [name for name in MODULES if not name.startswith("lib/")]

IMPORT = re.compile(r"""^(?:import|export)\s+(?:([^"';]+?)\s+from\s+)?"([^"]+)";""", re.MULTILINE | re.DOTALL)
EXPORT = re.compile(r"^export (?:async )?(?:const|function|class|let) (\w+)", re.MULTILINE)
LISTED = re.compile(r"^export \{([^}]*)\}", re.MULTILINE | re.DOTALL)


def source(name: str) -> str:
    return (STATIC / name).read_text()


def exports(name: str) -> set[str]:
    text = source(name)
    listed = {one.split(" as ")[-1].strip() for group in LISTED.findall(text) for one in group.split(",")}
    return set(EXPORT.findall(text)) | listed


def test_script_and_style_are_small() -> None:
    sent = [file for name, file in console_files().files.items() if name.endswith((".js", ".css"))]
    for coding in ("br", "gzip"):
        assert sum(len(file.body(coding)[1]) for file in sent) <= MAX_COMPRESSED_BYTES


def test_each_coding_holds_the_same() -> None:
    for file in console_files().files.values():
        plain = file.bodies["identity"]
        assert brotli.decompress(file.bodies["br"]) == plain
        assert gzip.decompress(file.bodies["gzip"]) == plain


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("BR", "br"),
        ("", "identity"),
        ("zstd", "identity"),
    ],
)
def test_a_client_gets_the_smallest_body_that_it_takes(accepted: str, coding: str) -> None:
    assert console_files().files["main.js"].body(accepted)[0] == coding


def test_the_page_names_files_that_exist() -> None:
    files = console_files()
    page = files.files[PAGE].bodies["identity"].decode()
    named = re.findall(rf'"{files.digest}/([^"]+)"', page)
    assert {"app.css", "icon.svg", *MODULES} == set(named)
    assert set(named) <= set(files.files)


@pytest.mark.parametrize("name", OURS)
def test_what_a_module_imports_exists(name: str) -> None:
    for wanted, address in IMPORT.findall(source(name)):
        assert address.startswith("."), "everything is a file of ours"
        parts: list[str] = []
        for part in (PurePosixPath(name).parent / address).parts:
            if part == "..":
                parts.pop()
            else:
                parts.append(part)
        module = "/".join(parts)
        assert module in MODULES
        if not module.startswith("lib/") and (names := re.fullmatch(r"\{(.*)\}", wanted.strip(), re.DOTALL)):
            asked = {one.split(" as ")[0].strip() for one in names[1].split(",") if one.strip()}
            assert asked <= exports(module)


@pytest.mark.parametrize("name", OURS)
def test_no_module_makes_markup_of_a_text(name: str) -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|dangerously|eval\(", source(name))


def test_each_module_begins_with_what_it_is() -> None:
    assert [name for name in OURS if not source(name).startswith("/**")] == []
