"""The page of `genie-env play`, in a real browser: Debian's chromium and chromium-driver."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported_modules import export_picture
from PIL import Image

webdriver = pytest.importorskip(
    "selenium.webdriver", reason="The page's tests need selenium: pip install selenium."
)

from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
if not (CHROMIUM.exists() and DRIVER.exists()):
    pytest.skip(
        "The page's tests need Chromium: apt-get install chromium chromium-driver.",
        allow_module_level=True,
    )

WORLD = Path(__file__).parents[2] / "worlds" / "doom-take-cover"
AGENT = WORLD / "controller.safetensors"
WIDTH, HEIGHT = 1280, 720
WAIT = 30.0
"""Seconds until a test gives up; none fails because it is slow."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("play"), free_port()) as address:
        yield address


@contextlib.contextmanager
def served(
    folder: Path, port: int, world: Path = WORLD, agent: Path | None = AGENT
) -> Iterator[str]:
    """A server of the world in a process of its own; gives its address."""
    command = [sys.executable, "-c", "from genie_env.cli.app import main; main()"]
    log = (folder / "server.log").open("w+")
    server = subprocess.Popen(
        [
            *command,
            "play",
            str(world),
            "--no-browser",
            "--port",
            str(port),
            *([] if agent is None else ["--agent", str(agent)]),
        ],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        until(lambda: server.poll() is not None or listens(port), 60)
        if server.poll() is not None:
            log.seek(0)
            pytest.fail(f"The server ended with {server.returncode}:\n{log.read()}")
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait()
        log.close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(condition: Callable[[], Any], seconds: float = WAIT) -> Any:
    """What `condition` gives once that is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "The page did not get there."
        time.sleep(0.05)
    return value


class Page:
    """What a person sees and does, and no more."""

    def __init__(self) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for argument in (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
        self.size()

    def size(self) -> None:
        metrics = {
            "width": WIDTH,
            "height": HEIGHT,
            "deviceScaleFactor": 1,
            "mobile": False,
        }
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, address: str) -> None:
        self.driver.get(address)
        until(lambda: self.text("trace-step") not in ("", "–"))

    def find(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def script(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def text(self, name: str) -> str:
        return str(self.script("return document.getElementById(arguments[0]).textContent", name))

    def step(self) -> int:
        """The step that is shown, which follows the picture by a moment; -1 before there is one."""
        return int(self.text("trace-step").split(" ")[0] or -1)

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def hold(self, key: str) -> None:
        ActionChains(self.driver).key_down(key).perform()

    def release(self, key: str) -> None:
        ActionChains(self.driver).key_up(key).perform()

    def picture(self, place: str = "dream") -> np.ndarray[Any, Any]:
        """The pixels of the canvas: uint8 [H, W, 3]."""
        pixels, width, height = self.script(
            "const c = document.getElementById(arguments[0]);"
            "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            "return [Array.from(d), c.width, c.height]",
            place,
        )
        return np.array(pixels, np.uint8).reshape(height, width, 4)[..., :3]

    def still_picture(self) -> np.ndarray[Any, Any]:
        """The picture of a paused dream, once nothing more arrives."""
        before = self.picture()
        while True:
            time.sleep(0.3)
            now = self.picture()
            if np.array_equal(before, now):
                return now
            before = now

    def pause(self) -> None:
        if not self.paused():
            self.find("#pause").click()
        until(self.paused)

    def resume(self) -> None:
        if self.paused():
            self.find("#pause").click()
        until(lambda: not self.paused())

    def paused(self) -> bool:
        return bool(self.find("#pause").get_attribute("aria-pressed") == "true")

    def reset(self, seed: int) -> np.ndarray[Any, Any]:
        """The first picture of a paused dream of this seed."""
        self.pause()
        self.script("document.getElementById('seed').value = arguments[0]", str(seed))
        self.find("#reset").click()
        until(lambda: f"seed {seed}" in self.text("seed-now"))
        until(lambda: self.step() == 0)
        return self.still_picture()

    def advance(self, steps: int) -> None:
        """Single steps of a paused dream."""
        for _ in range(steps):
            before = self.step()
            self.find("#step-once").click()
            until(lambda before=before: self.step() == before + 1)

    def drop(self, content: bytes, kind: str) -> None:
        """What the browser does when a file is let go over the page."""
        self.script(
            "const data = new DataTransfer();"
            "data.items.add(new File([new Uint8Array(arguments[0])], 'dropped', {type: arguments[1]}));"
            "document.getElementById('stage').dispatchEvent("
            "  new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}))",
            list(content),
            kind,
        )

    def played(self) -> str:
        """The action that the legend lights."""
        active = "document.querySelector('#legend .active')"
        return str(self.script(f"return {active} ? {active}.textContent : ''"))

    def notices(self) -> str:
        return self.text("notices")

    def problems(self) -> list[str]:
        """What the browser has complained of since the last call."""
        return [
            str(entry["message"])
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE"
        ]


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    page = Page()
    yield page
    page.driver.quit()


@pytest.fixture
def page(browser: Page, address: str) -> Iterator[Page]:
    browser.open(address)
    yield browser
    assert browser.problems() == []


def encoded(picture: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def difference(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def test_the_whole_page_fits_a_small_screen(page: Page) -> None:
    sizes = page.script(
        "const e = document.documentElement, p = document.getElementById('panel');"
        "return [e.scrollWidth, e.scrollHeight, p.scrollHeight - p.clientHeight]"
    )
    assert sizes == [WIDTH, HEIGHT, 0]
    canvas = page.find("#dream")
    assert canvas.value_of_css_property("image-rendering") == "pixelated"
    assert canvas.size == {"width": 512, "height": 512}, "eight times the world's 64 pixels"
    assert page.driver.get_screenshot_as_png()[16:24] == WIDTH.to_bytes(4, "big") + HEIGHT.to_bytes(
        4, "big"
    )


def test_light_and_dark_follow_the_system(page: Page) -> None:
    def brightness(scheme: str) -> float:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        shot = Image.open(io.BytesIO(page.driver.get_screenshot_as_png()))
        return float(np.asarray(shot.crop((0, 0, 250, HEIGHT)).convert("L")).mean())

    assert brightness("dark") < 80
    assert brightness("light") > 180


def test_the_legend_names_keys_and_actions(page: Page) -> None:
    legend = page.text("legend")
    assert "←" in legend and "→" in legend
    assert all(name in legend for name in ("left", "stay", "right"))


def test_keys_change_the_dream(page: Page) -> None:
    def after(key: str) -> np.ndarray[Any, Any]:
        page.reset(3)
        page.hold(key)
        page.advance(15)
        page.release(key)
        return page.still_picture()

    left, right, again = (
        after(Keys.ARROW_LEFT),
        after(Keys.ARROW_RIGHT),
        after(Keys.ARROW_LEFT),
    )
    assert difference(left, right) > 1
    assert np.array_equal(left, again)


def test_keys_are_let_go_when_the_focus_is_lost(page: Page) -> None:
    page.hold(Keys.ARROW_LEFT)
    until(lambda: "left" in page.played())
    page.script("dispatchEvent(new Event('blur'))")
    until(lambda: "stay" in page.played())
    page.release(Keys.ARROW_LEFT)


def test_a_gamepad_plays(page: Page) -> None:
    page.script(
        "navigator.getGamepads = () => [{axes: [1, 0]}]; dispatchEvent(new Event('gamepadconnected'))"
    )
    until(lambda: "right" in page.played())
    page.script("navigator.getGamepads = () => [null]")
    until(lambda: "stay" in page.played())


def test_the_same_seed_begins_with_the_same_picture(page: Page) -> None:
    first = page.reset(5)
    page.advance(5)
    assert difference(first, page.still_picture()) > 0
    assert np.array_equal(first, page.reset(5))
    assert not np.array_equal(first, page.reset(6))


def test_pause_and_single_steps(page: Page) -> None:
    page.reset(1)
    assert page.step() == 0
    page.advance(2)
    page.still_picture()
    assert page.step() == 2
    page.resume()
    until(lambda: page.step() > 6)


def test_a_branch_is_returned_to(page: Page) -> None:
    page.reset(2)
    page.advance(4)
    remembered = page.still_picture()
    before = len(page.driver.find_elements(By.CSS_SELECTOR, "#tree button"))
    page.find("#branch").click()
    until(lambda: len(page.driver.find_elements(By.CSS_SELECTOR, "#tree button")) == before + 1)
    page.advance(6)
    assert difference(remembered, page.still_picture()) > 0
    page.find("#tree button[aria-current=true]").click()
    until(lambda: page.step() == 4)
    assert np.array_equal(remembered, page.still_picture())


def test_a_dropped_picture_becomes_the_start(page: Page) -> None:
    page.reset(1)
    bright = np.full((64, 64, 3), 250, np.uint8)
    dark = np.zeros((64, 64, 3), np.uint8)
    shown = []
    for picture in (bright, dark):
        before = page.still_picture()
        page.drop(encoded(picture), "image/png")
        until(lambda before=before: not np.array_equal(page.picture(), before))
        shown.append(page.still_picture().mean())
    assert shown[0] > shown[1] + 20, shown
    assert page.notices() == ""


def test_a_dropped_file_that_is_no_picture_is_refused(page: Page) -> None:
    page.drop(b"no picture at all", "image/png")
    assert "picture" in until(page.notices)
    page.press(Keys.ESCAPE)
    assert page.notices() == ""
    step = page.step()
    until(lambda: page.step() != step)


def test_too_large_a_file_is_refused_without_being_sent(page: Page) -> None:
    page.script(
        "const data = new DataTransfer();"
        "data.items.add(new File([new ArrayBuffer(17 * 2 ** 20)], 'large.png', {type: 'image/png'}));"
        "dispatchEvent(new DragEvent('drop', {dataTransfer: data, cancelable: true}))"
    )
    assert "has 17.0 MiB; at most 16 MiB are taken" in until(page.notices)


def test_a_refused_control_says_why(page: Page) -> None:
    page.script(
        "document.getElementById('seed').value = '-5'; document.getElementById('panel').noValidate = true"
    )
    page.find("#reset").click()
    assert "seed" in until(page.notices).lower()
    page.find(".notice button").click()
    assert page.notices() == ""
    step = page.step()
    until(lambda: page.step() != step)


def test_several_dreams_of_the_same_actions(page: Page) -> None:
    """Four pictures of 64 pixels, 2 pixels apart."""
    page.find("#rows input[value='4']").find_element(By.XPATH, "..").click()
    until(lambda: page.picture().shape[:2] == (130, 130))
    page.find("#rows input[value='1']").find_element(By.XPATH, "..").click()
    until(lambda: page.picture().shape[:2] == (64, 64))


def test_the_keyboard_is_enough(page: Page) -> None:
    page.press("p")
    until(page.paused)
    page.press("5", Keys.ARROW_UP)  # no key of the page: nothing happens
    page.still_picture()
    step = page.step()
    page.press("n")
    until(lambda: page.step() == step + 1)
    page.press("b")
    until(lambda: page.driver.find_elements(By.CSS_SELECTOR, "#tree button"))
    reached = set()
    for _ in range(40):
        page.press(Keys.TAB)
        name, outline = page.script(
            "const e = document.activeElement;"
            "const drawn = {radio: e.nextElementSibling, stage: document.getElementById('dream')};"
            "const style = getComputedStyle(drawn[e.type] ?? drawn[e.id] ?? e);"
            "return [e.id || e.name || e.ariaLabel || e.tagName, style.outlineStyle]"
        )
        reached.add(name)
        assert outline == "solid" or name == "BODY", f"the focus shows at {name}"
    needed = {
        "seed",
        "reset",
        "open-starts",
        "open-picture",
        "mode",
        "rows",
        "pace",
        "temperature",
    }
    needed |= {"stage", "pause", "step-once", "branch", "return", "record"}
    assert needed <= reached
    assert any(name.startswith("Return to step") for name in reached)


def test_keys_typed_into_a_field_are_not_the_dreams(page: Page) -> None:
    page.pause()
    page.find("#seed").click()
    page.press("7", "n", "b", Keys.ENTER)
    until(lambda: "seed 7" in page.text("seed-now"))
    until(lambda: page.step() == 0)
    assert not page.driver.find_elements(By.CSS_SELECTOR, "#tree button"), "B was text"
    assert page.script("return document.activeElement.id") == "stage", (
        "the keys are the dream's again"
    )


def test_a_recorded_start_is_picked(page: Page) -> None:
    page.pause()
    shown = []
    for index in (0, 1):
        page.find("#open-starts").click()
        starts = until(
            lambda: page.driver.find_elements(By.CSS_SELECTOR, "#starts-pictures button")
        )
        starts[index].click()
        until(lambda: not page.find("#starts").is_displayed())
        until(lambda: page.step() == 0)
        shown.append(page.still_picture())
    assert difference(*shown) > 0


@pytest.mark.long
def test_the_real_game_is_a_key_away(page: Page) -> None:
    if not page.find("#switch").is_enabled():
        pytest.skip("The real game is not installed: pip install vizdoom.")
    page.press("r")
    until(lambda: page.find("#real").is_displayed() and not page.find("#dream").is_displayed())
    until(lambda: page.picture("real").any())
    page.press("r")
    until(lambda: page.find("#dream").is_displayed() and not page.find("#real").is_displayed())
    page.find("#mode input[value='both']").find_element(By.XPATH, "..").click()
    until(lambda: page.find("#dream").is_displayed() and page.find("#real").is_displayed())
    assert page.notices() == ""


@pytest.mark.long
def test_an_agent_plays_until_a_key_takes_over(page: Page) -> None:
    box = page.find("#agent")
    page.press("g")
    until(box.is_selected)
    page.press(Keys.ARROW_LEFT)
    until(lambda: not box.is_selected())


@pytest.mark.long
def test_a_recording_has_a_film_and_episodes(page: Page) -> None:
    page.find("#record").click()
    step = page.step()
    until(lambda: page.step() > step + 30)
    page.find("#record").click()
    link = until(lambda: page.driver.find_elements(By.CSS_SELECTOR, ".notice a"))[0]
    assert link.get_attribute("href").endswith(".mp4")
    size = page.driver.execute_async_script(
        "const done = arguments[1]; fetch(arguments[0]).then((r) => r.blob()).then((b) => done(b.size))",
        link.get_attribute("href"),
    )
    assert size > 1000
    assert "episodes in" in page.notices()


def test_an_exported_world_of_continuous_actions_is_played(browser: Page, tmp_path: Path) -> None:
    export_picture(tmp_path / "picture")
    with served(tmp_path, free_port(), tmp_path / "picture", agent=None) as address:
        browser.open(address)
        first = browser.reset(0)
        assert browser.text("trace-termination-probability") == "–"  # it has learned no ends
        seen = {}
        for name, code in (("one end", Keys.ARROW_LEFT), ("the other", Keys.ARROW_RIGHT)):
            browser.reset(0)
            browser.hold(code)
            browser.advance(4)
            browser.release(code)
            seen[name] = browser.still_picture()
        assert difference(seen["one end"], seen["the other"]) > 1
        browser.reset(0)
        given = np.full_like(first, 200)
        browser.drop(encoded(given), "image/png")
        until(lambda: difference(browser.picture(), given) < 2)
        assert browser.problems() == []
    browser.driver.get("about:blank")
    browser.problems()  # that its server has ended


@pytest.mark.long
def test_the_page_comes_back_with_its_server(browser: Page, tmp_path: Path) -> None:
    port = free_port()
    with served(tmp_path, port) as address:
        browser.open(address)
    assert (
        "The server has ended" in until(browser.notices) or "The server closed" in browser.notices()
    )
    with served(tmp_path, port):
        until(lambda: "Connected again. A new dream begins." in browser.notices())
        until(lambda: browser.step() > 0)
        assert browser.text("connection") == "connected"
    browser.driver.get("about:blank")
    browser.problems()  # that nothing listened in between


@pytest.mark.long
def test_ten_windows_dream_side_by_side(page: Page, address: str) -> None:
    driver = page.driver
    first = driver.current_window_handle
    others = []
    for _ in range(9):
        driver.switch_to.new_window("window")
        page.size()
        page.open(address)
        others.append(driver.current_window_handle)
    for handle in [first, *others]:
        driver.switch_to.window(handle)
        step = page.step()
        until(lambda step=step: page.step() != step)
        assert page.notices() == ""
    for handle in others:
        driver.switch_to.window(handle)
        driver.close()
    driver.switch_to.window(first)
    step = page.step()
    until(lambda: page.step() != step)


def test_latency_is_measured_in_small(
    page: Page, record_property: Callable[[str, object], None]
) -> None:
    record_property("key to picture, doom-take-cover", pressed(page, 30))


@pytest.mark.long
def test_latency_is_measured(page: Page, record_property: Callable[[str, object], None]) -> None:
    for run in range(3):
        record_property(f"key to picture, doom-take-cover, run {run + 1}", pressed(page, 300))


def pressed(page: Page, count: int) -> str:
    """What the page measures of `count` key presses, without a limit of frames. A machine's figures are
    its own: none is too slow."""
    page.open(page.driver.current_url)  # which forgets earlier presses
    page.script(
        "const p = document.getElementById('pace'); p.value = 'free'; p.dispatchEvent(new Event('change'))"
    )
    for press in range(count):
        key = Keys.ARROW_LEFT if press % 2 else Keys.ARROW_RIGHT
        ActionChains(page.driver, duration=0).key_down(key).pause(0.05).key_up(key).perform()
    until(lambda: f"({count})" in page.text("latency"))
    rate, latency, load = page.text("rate"), page.text("latency"), os.getloadavg()[0]
    return f"{latency}, {rate} frames/s, load {load:.1f}, {processor()}"


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"
