"""The page: one HTML file with its style, its script, Plotly and the numbers inside. It needs no network."""

from __future__ import annotations

import json
from importlib.resources import files
from string import Template
from typing import Any

from analysis.comparison import Comparison, ScenarioComparison
from analysis.report import reproduction, tables
from analysis.report.document import document
from analysis.report.elements import Content, Markup, element, join
from analysis.sentences import answer, extent, question, sentences

_SCRIPTS = (
    "format.js",
    "state.js",
    "plot.js",
    "cursor.js",
    "fleet.js",
    "surroundings.js",
    "devices.js",
    "modules.js",
    "main.js",
)
"""Our scripts, in the order in which they build on one another."""

PARTS = (
    ("answer", "Answer"),
    ("time", "Over time"),
    ("price", "Speed and price"),
    ("environment", "Environment"),
    ("devices", "Devices"),
    ("reproduce", "Reproduce"),
)
"""The parts of a scenario's page: the ends of their ids and their titles."""


def page(comparison: Comparison) -> str:
    """Return the page about all scenarios of a comparison."""
    from plotly.offline import get_plotlyjs  # 5 MB of text: only where a page is written

    parts = comparison.scenarios
    documents = [document(part) for part in parts]
    names = ", ".join(part.run.label for part in parts)
    text = Template(_asset("page.html")).substitute(
        title=element("title", f"{names} - edgesim report").html,
        style=_asset("report.css"),
        picker=_picker(parts).html,
        articles=join(
            _article(part, data, place, comparison.metrics)
            for place, (part, data) in enumerate(zip(parts, documents, strict=True))
        ).html,
        data=embedded(documents),
        plotly=get_plotlyjs(),
        script="\n".join(_asset(name) for name in _SCRIPTS),
    )
    return text


def embedded(value: Any) -> str:
    """Return JSON that can stand inside a script element: nothing in it ends the element or opens a comment.

    >>> embedded({"name": "</script>"})
    '{"name":"\\\\u003c/script>"}'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _asset(name: str) -> str:
    return (files("analysis.report") / "assets" / name).read_text(encoding="utf-8")


def _picker(parts: tuple[ScenarioComparison, ...]) -> Markup:
    """A choice of scenario, where there are several."""
    if len(parts) == 1:
        return Markup("")
    options = [element("option", part.run.label, value=str(place)) for place, part in enumerate(parts)]
    chooser = element("select", options, id="scenario", autocomplete="off")
    return element("label", ["scenario ", chooser], class_="picker")


def _article(part: ScenarioComparison, data: dict[str, Any], place: int, metrics: tuple[str, ...]) -> Markup:
    run, key = part.run, f"s{place}"
    about = run.manifest["scenario"].get("description", "")
    lead, much = answer(part), extent(part)
    links = [element("a", title, href=f"#{key}-{name}") for name, title in PARTS]
    seed = run.seeds[0] if run.seeds else None
    others = [element("li", told) for told in sentences(part) if told not in (lead, much)]
    begun = seed is not None and len(run.learners) > 0
    sections: dict[str, list[Content]] = {
        "answer": [element("ul", others, class_="sentences"), tables.summary(part, metrics)],
        "time": [_charts("accuracy", "bytes")],
        "price": [_charts("recovery", "pareto")],
        "environment": [
            *([tables.environment(run, seed), tables.drifts(run, seed)] if begun and seed is not None else []),
            _charts("reach", "uplink", "downlink", "memory", "compute"),
        ],
        "devices": [tables.devices(run, data["devices"]), _charts("heat", "modules"), _drill()],
        "reproduce": [reproduction.section(run)],
    }
    notes = element("ul", [element("li", note) for note in data["notes"]], class_="notes") if data["notes"] else ""
    head = element(
        "header",
        [
            element("p", f"{run.label}: {much}", class_="eyebrow"),
            element("h1", question(part)),
            element("p", lead, class_="lead"),
            *([element("p", about, class_="about")] if about else []),
            element("nav", links, aria_label=f"Parts of {run.label}"),
        ],
    )
    sections["devices"].append(notes)
    body = [
        element(
            "section",
            [element("h2", title, id=f"{key}-{name}-title"), *sections[name]],
            id=f"{key}-{name}",
            class_=name,
            aria_labelledby=f"{key}-{name}-title",
        )
        for name, title in PARTS
    ]
    return element(
        "article",
        [head, Markup('<div class="controls"></div>'), *body],
        id=key,
        class_="scenario",
        data_scenario=str(place),
    )


def _charts(*names: str) -> Markup:
    """Places for charts; the script fills them."""
    return element("div", [element("figure", "", class_="chart", data_chart=name) for name in names], class_="charts")


def _drill() -> Markup:
    """The place for one device's charts, and for its choice."""
    inner = [Markup('<div class="choice"></div>'), _charts("device", "activity", "held", "links", "battery")]
    return element("div", [element("h3", "One device"), *inner], class_="drill")
