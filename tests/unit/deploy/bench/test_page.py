"""The page: whole by itself, without scripts, and nothing in it is taken for markup."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as Xml

import msgspec
import pytest

from deploy.bench.charts import latency_chart, powers, round_values, shares, throughput_chart
from deploy.bench.figures import Bucket
from deploy.bench.page import page
from deploy.bench.report import Server
from tests.unit.deploy.bench.reports import NOOP, READ, figures, report

MANY = figures(*(1 + number / 10 for number in range(200)), seconds=4.0)
FULL = report((NOOP, [(MANY, 0.1), (MANY, 0.1)]), (READ, [(figures(0.4), None)]))


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")


def test_nothing_is_loaded_and_nothing_runs() -> None:
    found = Tags(page(FULL, FULL))
    assert {"script", "link", "img", "iframe", "object", "image", "use"}.isdisjoint(found.tags)
    assert {"src", "href", "style", "onclick", "onload"}.isdisjoint(found.attributes)
    assert "default-src 'none'; style-src 'unsafe-inline'" in found.attributes["content"]
    assert not re.search(r"@import|@font-face|url\(", page(FULL))


def test_texts_are_not_taken_for_markup() -> None:
    odd = report((NOOP, [(figures(1, errors={"<i>": 1}), None)]), left_out={"send": "<b>no</b>"})
    text = page(msgspec.structs.replace(odd, server=Server('http://x/"><script>alert(1)</script>', "<i>")))
    assert "script" not in Tags(text).tags
    assert "<i>" not in text
    assert "&lt;b&gt;no&lt;/b&gt;" in text
    assert "A &lt;fast&gt; &amp; small CPU" in text


def test_light_and_dark() -> None:
    assert "prefers-color-scheme: dark" in page(FULL)


@pytest.mark.parametrize("chart", [latency_chart, throughput_chart])
def test_a_chart_is_well_formed_and_says_what_it_shows(chart: object) -> None:
    root = Xml.fromstring(chart(FULL.scenarios[0]))  # type: ignore[operator] # noqa: S314 - our own
    title, told, *_ = root
    assert title.text is not None
    assert title.text.endswith("of noop, 16 clients")
    assert root.get("aria-label") == f"{title.text}: {told.text}"
    width, height = (float(number) for number in root.attrib["viewBox"].split()[2:])
    for element in root.iter():
        for name, limit in (("x", width), ("x1", width), ("cx", width), ("y", height), ("y1", height), ("cy", height)):
            assert 0 <= float(element.get(name, 0)) <= limit, (element.tag, element.attrib)


def test_a_latency_chart_has_a_bar_for_each_bucket_the_quantiles_and_the_unit() -> None:
    (one, _) = FULL.scenarios
    text = latency_chart(one)
    assert text.count('class="bar"') == len(one.histogram_ms)
    assert text.count('class="quantile"') == 3
    assert "p50 11.0 ms" in text
    assert "latency, ms (logarithmic)" in text
    assert "% of requests" in text
    assert "before" not in text
    assert 'class="before"' in latency_chart(one, one)


def test_a_throughput_chart_has_a_line_for_each_round() -> None:
    text = throughput_chart(FULL.scenarios[0])
    assert text.count('class="round"') == 2
    assert text.count('class="dot"') == 8
    assert "median of the rounds: 50 per second" in text


def test_where_there_is_nothing_to_draw_it_is_said() -> None:
    (nothing,) = report((NOOP, [(figures(seconds=0.5, errors={"503": 1}), None)])).scenarios
    assert "No request has succeeded." in latency_chart(nothing)
    assert "The rounds were shorter than a second." in throughput_chart(nothing)


def test_axes() -> None:
    assert round_values(97) == [0, 50, 100]
    assert round_values(3.2) == [0, 1, 2, 3, 4]
    assert round_values(1000) == [0, 500, 1000]
    assert powers(0.9, 25) == [1, 2, 5, 10, 20]
    assert shares([Bucket(1, 2, 3), Bucket(2, 3, 1)]) == [75, 25]
