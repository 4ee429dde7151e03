"""The report in a real browser: Chromium opens the file and does what a reader does.

Run with ``pytest -m browser -n 0``; needs the package ``playwright`` and Debian's ``chromium``, or another one that
``EDGESIM_CHROMIUM`` names.
With ``EDGESIM_SCREENSHOTS=folder`` in the environment pictures of the page are left there to be looked at.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from drawn_run import written, written_modules

from analysis.palette import KNOWN, on_dark
from analysis.report import write_report

playwright = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.browser

WIDE, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = os.environ.get("EDGESIM_CHROMIUM") or shutil.which("chromium")
    if found is None:
        pytest.fail("no Chromium: install Debian's package chromium, or say where it is with EDGESIM_CHROMIUM")
    sandbox = [] if os.geteuid() else ["--no-sandbox"]  # Chromium refuses to sandbox what root runs
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=sandbox)
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    runs = [written(folder / "run"), written(folder / "other", seeds=(0,), name="other")]
    return write_report(runs, folder / "report.html")


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Callable[..., Any]]:
    """Open the page; whatever the test does, the browser must have complained about nothing and asked for nothing."""
    complaints: list[str] = []
    contexts = []

    def listen(message: Any) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    def open_(size: tuple[int, int] = WIDE, *, file: Path = report, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", listen)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith("file:") or complaints.append(f"asks for {asked.url}"))
        page.goto(file.as_uri())
        show(page, "accuracy")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def show(page: Any, chart: str) -> Any:
    """Scroll to a chart and return its figure once it is drawn."""
    figure = page.locator(f"#s0 [data-chart={chart}]")
    figure.scroll_into_view_if_needed()
    page.locator(f"#s0 [data-chart={chart}]:not([aria-busy])").wait_for()
    figure.locator(".main-svg").first.wait_for()
    return figure


def lines(page: Any, chart: str) -> list[str]:
    """The names of the learners that a chart draws."""
    show(page, chart)
    names: list[str] = page.locator(f"#s0 [data-chart={chart}] .plot").evaluate(
        "plot => plot.data.filter(trace => trace.name && trace.mode === 'lines').map(trace => trace.name)"
    )
    return names


def picture(page: Any, name: str, **options: Any) -> None:
    folder = os.environ.get("EDGESIM_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", **options)


def cursors(page: Any) -> dict[str, float]:
    """Where the cursor stands in each chart over time that shows something: as a share of its plot's width."""
    places: dict[str, float] = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll('#s0 [data-chart]')]
          .filter(figure => !figure.hidden && figure.querySelector('.main-svg'))
          .filter(figure => figure.querySelector('.cursor:not([hidden])'))
          .map(figure => {
            const line = figure.querySelector('.cursor').getBoundingClientRect();
            const plot = figure.querySelector('.draglayer .nsewdrag').getBoundingClientRect();
            return [figure.dataset.chart, (line.left + line.width / 2 - plot.left) / plot.width];
          }))"""
    )
    return places


ALL_TIMED = ("accuracy", "bytes", "reach", "uplink", "memory", "heat", "device", "activity", "held", "links")


def test_every_chart_is_drawn(opened: Callable[..., Any]) -> None:
    page = opened()
    for chart in (*ALL_TIMED, "recovery", "pareto", "downlink", "compute"):
        show(page, chart)
    page.evaluate("window.scrollTo(0, 0)")
    picture(page, "page", full_page=True)
    assert page.title() == "paper, other - edgesim report"


def test_one_toggle_takes_a_learner_out_of_every_chart(opened: Callable[..., Any]) -> None:
    page = opened()
    assert lines(page, "accuracy") == ["no_adaptation", "on_device", "cloud_only"]
    page.locator("#s0 .chip input[data-learner=on_device]").uncheck()
    for chart in ("accuracy", "bytes", "recovery", "device"):
        assert lines(page, chart) == ["no_adaptation", "cloud_only"], chart
    page.locator("#s0").get_by_role("button", name="none").click()
    assert lines(page, "bytes") == []
    assert "No learner is chosen." in show(page, "bytes").inner_text()
    page.locator("#s0").get_by_role("button", name="all", exact=True).click()
    assert lines(page, "device") == ["no_adaptation", "on_device", "cloud_only"]


def test_the_cursor_stands_at_the_same_time_in_every_chart(opened: Callable[..., Any]) -> None:
    page = opened()
    for chart in ALL_TIMED:
        show(page, chart)
    page.locator("#s0 input[type=range]").fill("150")
    places = cursors(page)
    assert set(places) >= set(ALL_TIMED)
    assert all(abs(place - 150 / 600) < 0.01 for place in places.values()), places
    assert "150 s, 30 s after new-digits" in page.locator("#s0 .moment").inner_text().replace("2.5 min", "150 s")
    assert "65.0 %" in page.locator("#s0 .chip", has_text="no_adaptation").inner_text()


def test_a_click_in_a_chart_moves_the_cursor(opened: Callable[..., Any]) -> None:
    page = opened()
    area = show(page, "accuracy").locator(".nsewdrag").bounding_box()
    page.mouse.click(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)
    slider = page.locator("#s0 input[type=range]")
    assert abs(float(slider.input_value()) - 300) < 5
    picture(page, "cursor")


def test_zooming_into_one_chart_zooms_all_and_can_be_undone(opened: Callable[..., Any]) -> None:
    page = opened()
    area = show(page, "accuracy").locator(".nsewdrag").bounding_box()
    page.mouse.move(area["x"] + area["width"] / 4, area["y"] + 50)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + 55, steps=5)
    page.mouse.up()
    show(page, "uplink")
    shown = page.locator("#s0 [data-chart=uplink] .plot").evaluate("plot => plot.layout.xaxis.range.map(Math.round)")
    assert shown == [3, 5]  # minutes of 10, to the nearest
    page.locator("#s0").get_by_role("button", name="whole time").click()
    show(page, "uplink")
    assert page.locator("#s0 [data-chart=uplink] .plot").evaluate("plot => plot.layout.xaxis.range") == [0, 10]


def test_hovering_tells_every_learner_s_value(opened: Callable[..., Any]) -> None:
    page = opened()
    area = show(page, "accuracy").locator(".nsewdrag").bounding_box()
    page.mouse.move(area["x"] + area["width"] * 0.4, area["y"] + area["height"] / 2)
    told = show(page, "accuracy").locator(".hoverlayer")
    told.get_by_text("cloud_only", exact=False).first.wait_for()
    picture(page, "hover")
    assert "%" in told.text_content()


def test_a_seed_shows_its_own_curves_and_devices(opened: Callable[..., Any]) -> None:
    page = opened()
    page.locator("#s0 .seed select").select_option("2")
    show(page, "device")
    assert page.locator("#s0 .where").inner_text() == "seed 2"
    moments = page.locator("#s0 [data-chart=accuracy] .plot")
    show(page, "accuracy")
    assert 173 / 60 in moments.evaluate("plot => plot.data.find(trace => trace.name === 'on_device').x")


def test_a_device_opens_from_the_table_and_from_the_heat_map(opened: Callable[..., Any]) -> None:
    page = opened()
    page.locator("#s0 button.open", has_text="field-1").click()
    chosen = page.locator("#s0 select.device")
    playwright.expect(chosen).to_have_value("field-1")
    assert chosen.evaluate("select => select === document.activeElement")
    show(page, "device")
    area = show(page, "heat").locator(".nsewdrag").bounding_box()
    page.mouse.click(area["x"] + 40, area["y"] + area["height"] / 8)  # the first of four rows
    playwright.expect(chosen).to_have_value("hub-0")
    page.locator("#s0").get_by_role("button", name="next").click()
    playwright.expect(chosen).to_have_value("hub-1")
    show(page, "activity")
    picture(page, "device")


def test_the_map_of_modules_follows_the_cursor(opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened(file=write_report([written_modules(tmp_path / "run")], tmp_path / "modules.html"))
    assert "layer by layer: 73.0 %, 100.0 %" in show(page, "modules").inner_text()
    picture(page, "modules")
    page.locator("#s0 input[type=range]").fill("200")
    assert "layer by layer: 100.0 %, 100.0 %" in show(page, "modules").inner_text()
    page.locator("#s0 input[type=range]").fill("60")
    assert "No modules are selected yet" in show(page, "modules").inner_text()
    page.locator("#s0 .chip input[data-learner=eclm]").uncheck()
    assert "No learner with modules is shown" in show(page, "modules").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_system_and_the_switch(scheme: str, opened: Callable[..., Any]) -> None:
    page = opened(color_scheme=scheme)
    ground = "getComputedStyle(document.body).backgroundColor"
    first = page.evaluate(ground)
    colour = "plot => plot.data.find(trace => trace.name === 'no_adaptation').line.color"
    plot = page.locator("#s0 [data-chart=accuracy] .plot")
    own = {"light": KNOWN["no_adaptation"], "dark": on_dark(KNOWN["no_adaptation"])}
    show(page, "accuracy")
    assert plot.evaluate(colour) == own[scheme]
    picture(page, scheme)
    page.locator("#theme").click()
    assert page.evaluate(ground) != first
    show(page, "accuracy")
    assert plot.evaluate(colour) == own["dark" if scheme == "light" else "light"]


def test_text_can_be_told_from_its_ground(opened: Callable[..., Any]) -> None:
    from analysis.palette import contrast

    for scheme in ("light", "dark"):
        page = opened(color_scheme=scheme)
        colours = page.evaluate(
            """() => { const style = getComputedStyle(document.documentElement);
              return ['text', 'quiet', 'accent', 'good', 'bad', 'card', 'ground']
                .map(name => style.getPropertyValue(`--${name}`).trim()); }"""
        )
        for colour in colours[:5]:
            assert min(contrast(colour, ground) for ground in colours[5:]) >= 4.5, (scheme, colour)


def test_a_phone_shows_the_page_without_scrolling_sideways(opened: Callable[..., Any]) -> None:
    page = opened(PHONE, has_touch=True, is_mobile=True, device_scale_factor=2)
    for chart in (*ALL_TIMED, "recovery", "pareto"):
        show(page, chart)
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0], chart
    page.evaluate("window.scrollTo(0, 0)")
    picture(page, "phone", full_page=True)
    assert page.evaluate("plot => document.querySelector('#s0 [data-chart=accuracy] .plot').layout.dragmode") is False


def test_everything_that_can_be_done_can_be_done_with_the_keyboard(opened: Callable[..., Any]) -> None:
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("(e => e.dataset.learner || e.dataset.device || e.type || e.tagName)(document.activeElement)")
        )
    assert {"no_adaptation", "on_device", "cloud_only", "range", "select-one", "hub-0", "field-1"} <= set(reached)
    page.locator("#s0 .chip input[data-learner=on_device]").focus()
    page.keyboard.press("Space")
    assert lines(page, "accuracy") == ["no_adaptation", "cloud_only"]
    slider = page.locator("#s0 input[type=range]")
    slider.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert float(slider.input_value()) == pytest.approx(0.6)
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


def test_every_control_and_chart_has_a_name_for_a_screen_reader(opened: Callable[..., Any]) -> None:
    page = opened()
    for chart in ALL_TIMED:
        assert len(show(page, chart).get_by_role("img").first.get_attribute("aria-label")) > 10
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('#s0 button, #s0 select, #s0 input')]
          .filter(e => !(e.labels && e.labels.length) && !e.getAttribute('aria-label') && !e.textContent.trim())
          .map(e => e.outerHTML)"""
    )
    assert unnamed == []
    assert page.locator("html").get_attribute("lang") == "en"


def test_printed_pages_are_light_and_hold_every_chart(opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened(color_scheme="dark")
    before = page.evaluate("document.documentElement.dataset.theme || ''")
    page.evaluate(
        """() => addEventListener('beforeprint', () => { window.seen = {
          theme: document.documentElement.dataset.theme,
          blank: [...document.querySelectorAll('#s0 [data-chart]')]
            .filter(figure => !figure.hidden && !figure.querySelector('.main-svg'))
            .map(figure => figure.dataset.chart)}; })"""
    )
    pdf = page.pdf(format="A4")
    seen = page.evaluate("window.seen")
    assert seen == {"theme": "light", "blank": []}
    assert pdf.startswith(b"%PDF")
    assert page.evaluate("document.documentElement.dataset.theme || ''") == before
    folder = os.environ.get("EDGESIM_SCREENSHOTS")
    if folder:
        (Path(folder) / "print.pdf").write_bytes(pdf)


def test_the_scenarios_of_a_page_are_chosen_from_a_list(opened: Callable[..., Any]) -> None:
    page = opened()
    assert not page.locator("#s1").is_visible()
    page.locator("#scenario").select_option("1")
    assert page.locator("#s1").is_visible()
    assert not page.locator("#s0").is_visible()
    page.locator("#s1 [data-chart=accuracy] .main-svg").first.wait_for()


def test_a_page_about_nothing_opens_without_a_complaint(opened: Callable[..., Any], tmp_path: Path) -> None:
    from written_runs import WrittenRun

    folders = [WrittenRun(tmp_path / "done").close(), WrittenRun(tmp_path / "killed").kill()]
    for folder in folders:
        page = opened(file=write_report([folder], tmp_path / "nothing.html"))
        for chart in ("bytes", "recovery", "reach", "uplink"):
            assert show(page, chart).inner_text()
