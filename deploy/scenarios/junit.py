"""JUnit's XML, which continuous integration reads."""

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Final
from xml.etree import ElementTree as Xml

from deploy.scenarios.report import lines_of
from deploy.scenarios.running import Result

_NOT_IN_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""No escape makes these characters part of an XML document."""


def as_junit(results: Sequence[Result]) -> bytes:
    """One suite for each file, one case for each scenario."""
    suites = Xml.Element("testsuites", _counts(results))
    for file, grouped in groupby(results, key=lambda result: str(result.case.file)):
        of_file = list(grouped)
        suite = Xml.SubElement(suites, "testsuite", {"name": _clean(file), **_counts(of_file)})
        for result in of_file:
            _add(suite, file, result)
    Xml.indent(suites)
    made: bytes = Xml.tostring(suites, encoding="utf-8", xml_declaration=True)
    return made + b"\n"


def _add(suite: Xml.Element, file: str, result: Result) -> None:
    attributes = {
        "classname": _clean(file),
        "name": _clean(result.case.name),
        "file": _clean(file),
        "line": str(result.case.line),
        "time": f"{result.seconds:.6f}",
    }
    case = Xml.SubElement(suite, "testcase", attributes)
    if not result.passed:
        failure = Xml.SubElement(case, "failure", {"message": _clean(result.failures[0])})
        failure.text = _clean("\n".join(lines_of(result)))


def _counts(results: Sequence[Result]) -> dict[str, str]:
    return {
        "tests": str(len(results)),
        "failures": str(sum(not result.passed for result in results)),
        "errors": "0",
        "time": f"{sum(result.seconds for result in results):.6f}",
    }


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("�", text)
