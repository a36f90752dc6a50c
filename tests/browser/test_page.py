"""The page in a real browser: write, see the answer, put it right, and find it in the store."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, Route, sync_playwright

from handwriting.data import Dataset
from handwriting.serving import Correction, Store
from tests.hands import in_another_hand, some_of_each
from tests.serving.parts import Running, digit_pictures

Point = tuple[float, float]
# As MNIST's writers write them, in parts of the paper's width: strokes of corner points.
STROKES: dict[str, list[list[Point]]] = {
    "1": [[(0.53, 0.16), (0.47, 0.64)]],
    "2": [
        [(0.36, 0.27), (0.42, 0.17), (0.55, 0.16), (0.6, 0.28), (0.5, 0.45), (0.36, 0.62), (0.48, 0.59), (0.66, 0.62)]
    ],
    "3": [[(0.37, 0.2), (0.5, 0.15), (0.6, 0.25), (0.46, 0.38), (0.61, 0.48), (0.56, 0.6), (0.42, 0.64), (0.34, 0.58)]],
    "7": [[(0.34, 0.2), (0.48, 0.2), (0.63, 0.18), (0.55, 0.38), (0.46, 0.65)]],
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = os.environ.get("HANDWRITING_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("CHROMIUM IS NOT INSTALLED: the page was not tested (apt-get install chromium)")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=flags)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'corrections.sqlite3'}"


@pytest.fixture(scope="module")
def service(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running("--state", str(tmp_path_factory.mktemp("state")), store=store)
    yield running
    assert running.stop() == 0


class Visit:
    """A page that is open, and what went wrong on it or left for another server."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("console", lambda said: self.faults.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))

        def inside(route: Route) -> None:
            if route.request.url.startswith((url, "blob:", "data:")):
                route.continue_()
            else:
                self.faults.append(f"asked for {route.request.url}")
                route.abort()

        page.route("**/*", inside)  # the network is cut but for the server
        page.goto(url)
        page.wait_for_selector("html[data-ready]")

    def write(self, digit: str, *, x: float = 0, size: float = 1) -> None:
        """Draw by mouse, in small moves."""
        frame = self.page.locator("#ink").bounding_box()
        assert frame is not None
        for stroke in STROKES[digit]:
            for index, (across, down) in enumerate(between(stroke)):
                place = (frame["x"] + frame["width"] * (across * size + x), frame["y"] + frame["width"] * down * size)
                self.page.mouse.move(*place)
                if index == 0:
                    self.page.mouse.down()
            self.page.mouse.up()

    def answer(self, expected: str) -> None:
        self.page.wait_for_function("label => document.querySelector('#label').textContent === label", arg=expected)


def between(stroke: list[Point], steps: int = 6) -> list[Point]:
    points = [stroke[0]]
    for (x, y), (to_x, to_y) in itertools.pairwise(stroke):
        points += [(x + (to_x - x) * n / steps, y + (to_y - y) * n / steps) for n in range(1, steps + 1)]
    return points


@pytest.fixture(params=["desk", "phone"])
def visit(request: pytest.FixtureRequest, browser: Browser, service: Running) -> Iterator[Visit]:
    if request.param == "phone":
        context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    else:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = Visit(context.new_page(), service.url)
    yield opened
    context.close()
    assert opened.faults == []


def test_a_drawn_digit_is_answered_and_can_be_undone(visit: Visit) -> None:
    for digit in STROKES:
        visit.write(digit)
        visit.answer(digit)
        assert visit.page.locator("#bars li").first.locator("b").inner_text() == digit
        assert "sure" in visit.page.locator("#sure").inner_text()
        visit.page.locator("#clear").click()
        visit.answer("?")
    visit.page.wait_for_function("() => document.querySelector('#spoken').textContent === ''")


def test_small_writing_reads_like_large_writing(visit: Visit) -> None:
    visit.write("7", x=0.1, size=0.25)
    visit.answer("7")
    light = visit.page.evaluate("""() => {
        const data = document.querySelector('#seen').getContext('2d').getImageData(0, 0, 28, 28).data;
        return [...data].filter((_, index) => index % 4 === 0 && data[index] > 127).length;
    }""")
    assert 30 < light < 200  # its line survived, and is no blot


def test_it_fits_the_width_of_a_phone(visit: Visit) -> None:
    wide = visit.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0


def test_a_correction_is_kept_after_a_yes_and_found_in_the_store(visit: Visit, store: str) -> None:
    with Store(store) as opened:
        opened.delete()
    visit.write("7")
    visit.answer("7")
    wrong = visit.page.locator("#choices button", has_text="1")
    wrong.click()
    visit.page.get_by_role("button", name="No, keep nothing").click()
    with Store(store) as opened:
        assert opened.count() == 0
    wrong.click()
    visit.page.get_by_role("button", name="Yes, keep my corrections").click()
    visit.page.wait_for_selector("#kept li")
    with Store(store) as opened:
        [kept] = opened
    assert (kept.label, kept.predicted_label) == ("1", "7")
    assert kept.image.any()
    visit.page.locator("#choices button", has_text="2").click()  # agreed once: one click from now on
    visit.page.wait_for_function("() => document.querySelectorAll('#kept li').length === 2")
    visit.page.get_by_role("button", name="Undo", exact=True).last.click()
    visit.page.wait_for_function("() => document.querySelectorAll('#kept li').length === 1")
    visit.page.get_by_role("button", name="Delete all").click()
    visit.page.wait_for_function("() => document.querySelectorAll('#kept li').length === 0")
    with Store(store) as opened:
        assert opened.count() == 0


def test_an_uploaded_picture_is_answered(visit: Visit, digits: dict[str, bytes], tmp_path: Path) -> None:
    for label in ("3", "8"):
        (tmp_path / f"{label}.png").write_bytes(digits[label])
        visit.page.set_input_files("#file", tmp_path / f"{label}.png")
        visit.answer(label)


def test_a_dropped_and_a_pasted_picture_are_answered(visit: Visit, digits: dict[str, bytes]) -> None:
    for kind, label in (("drop", "6"), ("paste", "2")):
        visit.page.evaluate(
            """([kind, bytes]) => {
                const file = new File([new Uint8Array(bytes)], "it.png", { type: "image/png" });
                const data = new DataTransfer();
                data.items.add(file);
                const event = kind === "drop"
                    ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
                    : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
                document.querySelector("#paper").dispatchEvent(event);
            }""",
            [kind, list(digits[label])],
        )
        visit.answer(label)


def test_a_file_that_is_no_picture_is_told(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_bytes(b"no picture")
    visit.page.set_input_files("#file", tmp_path / "no.png")
    visit.page.wait_for_function("() => document.querySelector('#toast').textContent.includes('not a picture')")


def test_several_digits_are_read_with_boxes_over_them(visit: Visit) -> None:
    visit.page.get_by_label("Whole numbers").check()
    visit.write("7", x=-0.1, size=0.7)
    visit.write("2", x=0.2, size=0.7)
    visit.write("3", x=0.45, size=0.7)
    visit.page.wait_for_function("() => document.querySelector('#sure').textContent === '723'")
    boxes = visit.page.locator("#boxes .box")
    assert boxes.count() == 3
    frame = visit.page.locator("#paper").bounding_box()
    lefts = [box["x"] for index in range(3) if (box := boxes.nth(index).bounding_box()) is not None]
    assert frame is not None
    assert lefts == sorted(lefts)
    assert all(frame["x"] <= left <= frame["x"] + frame["width"] for left in lefts)
    visit.page.locator("#lines button").nth(1).click()
    visit.page.wait_for_function(
        "() => document.querySelector('#seen').getAttribute('aria-label').includes('chosen 2')"
    )
    assert visit.page.locator("#wrong").is_enabled()


def test_of_a_photo_on_its_side_a_character_is_seen_upright(visit: Visit, sample: Dataset, tmp_path: Path) -> None:
    label = "52746"
    row = [sample.images[sample.labels == int(digit)][3] for digit in label]
    ink = np.kron(np.pad(np.hstack(row), 20), np.ones((3, 3), np.uint8))
    Image.fromarray(np.rot90(255 - ink)).save(tmp_path / "side.png")
    visit.page.get_by_label("Whole numbers").check()
    visit.page.set_input_files("#file", tmp_path / "side.png")
    visit.page.wait_for_function("label => document.querySelector('#sure').textContent === label", arg=label)
    with visit.page.expect_response(lambda response: "/predict" in response.url) as answered:
        visit.page.locator("#lines button").nth(2).click()
    assert answered.value.json()[0]["label"] == label[2]


def test_the_keyboard_alone_can_write_and_reach_everything(visit: Visit) -> None:
    visit.page.locator("#ink").focus()
    visit.page.keyboard.press("ArrowUp")
    visit.page.keyboard.press("Space")
    for _ in range(16):
        visit.page.keyboard.press("ArrowDown")
    visit.page.keyboard.press("Space")
    visit.answer("1")
    visit.page.wait_for_function("() => document.querySelector('#spoken').textContent.startsWith('1')")
    reached = set()
    for _ in range(40):
        visit.page.keyboard.press("Tab")
        reached.add(visit.page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert {"undo", "clear", "file", "theme"} <= reached
    assert {"0", "9"} <= reached  # the corrections
    visit.page.locator("#ink").focus()
    visit.page.keyboard.press("Delete")
    visit.answer("?")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Browser, service: Running, theme: str) -> None:
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme="dark" if theme == "dark" else "light"
    )
    visit = Visit(context.new_page(), service.url)
    found = [("empty", Axe().run(visit.page))]
    visit.write("3")
    visit.answer("3")
    found.append(("answered", Axe().run(visit.page)))
    visit.page.locator("#choices button", has_text="5").click()
    found.append(("asked", Axe().run(visit.page)))
    visit.page.goto(f"{service.url}/docs")
    visit.page.wait_for_selector("html[data-ready]")
    visit.page.locator("summary").first.click()
    found.append(("docs", Axe().run(visit.page)))
    context.close()
    for state, results in found:
        serious = [
            (fault["id"], fault["nodes"][0]["html"])
            for fault in results.response["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
        assert serious == [], state
    assert visit.faults == []


def test_a_key_is_asked_for_once_and_opens_the_page(browser: Browser) -> None:
    key = "a-key-of-the-tests-0123"
    running = Running(environment={"HANDWRITING_API_KEY": key})
    context = browser.new_context()
    page = context.new_page()
    page.goto(running.url)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Unlock").click()
    page.wait_for_selector("html[data-ready]")
    assert page.locator("#model").inner_text().startswith("digits")
    context.close()
    assert running.stop() == 0


def test_its_owner_lets_it_learn_a_hand_and_goes_back(browser: Browser, sample: Dataset, tmp_path: Path) -> None:
    url, session = f"sqlite:///{tmp_path / 'c.sqlite3'}", "s" * 20
    hand = in_another_hand(some_of_each(sample, 100, 106), slant=-1.1, width=0.6)
    with Store(url) as opened:
        for image, label in zip(hand.images, hand.labels.tolist(), strict=True):
            opened.add(
                Correction(
                    image=image,
                    label=str(label),
                    predicted_label="1",
                    predicted_probability=0.5,
                    model="digits",
                    model_version="1",
                    session=session,
                )
            )
    # Without whole MNIST: the digits that come with the install stand in for it, and it takes a few seconds.
    running = Running("--state", str(tmp_path / "state"), store=url, environment={"HANDWRITING_DATA": ""})
    context = browser.new_context()
    visit = Visit(context.new_page(), running.url)
    visit.page.evaluate("session => localStorage.setItem('session', session)", session)
    visit.page.reload()
    visit.page.wait_for_selector("html[data-ready]")
    assert visit.page.locator("#count").inner_text() == "60"
    visit.page.get_by_role("button", name="Learn from them").click()
    learned = visit.page.locator("#learned", has_text="It learned your hand.")
    learned.wait_for(timeout=400_000)
    for figure in ("Your writing: ", "Accepted as characters: ", "What it knew: "):
        assert figure in learned.inner_text()
    visit.page.get_by_role("button", name="Go back a version").click()
    visit.page.locator("#toast", has_text="The version before answers again.").wait_for()
    visit.page.locator("#back").wait_for(state="hidden")  # the page asks for the versions after it has said so
    context.close()
    assert visit.faults == []
    assert running.stop() == 0


@pytest.fixture(scope="module")
def digits(sample: Dataset) -> dict[str, bytes]:
    return digit_pictures(sample)
