"""Draw the page's pictures of the README: a service in Chromium, a digit written by mouse, docs/images/page-*.png.

    python scripts/draw_page.py                    # page-1280.png and page-390.png
    python scripts/draw_page.py --all FOLDER       # and every state of it, light and dark, to look at

Needs the extras `serve` and `test`, and Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser.test_page import STROKES, Visit  # noqa: E402
from tests.serving.parts import Running  # noqa: E402

STROKES["W"] = [[(0.25, 0.2), (0.35, 0.6), (0.48, 0.3), (0.6, 0.6), (0.72, 0.18)]]
SIZES = {"1280": (1280, 900), "390": (390, 844)}


def written(visit: Visit) -> None:
    """A seven, answered."""
    visit.write("7")
    visit.answer("7")


def numbers(visit: Visit) -> None:
    """Three digits with boxes, the second chosen."""
    visit.page.get_by_label("Whole numbers").check()
    for digit, x in (("7", -0.1), ("2", 0.2), ("3", 0.45)):
        visit.write(digit, x=x, size=0.7)
    visit.page.wait_for_function("() => document.querySelectorAll('#boxes .box').length === 3")
    visit.page.locator("#lines button").nth(1).click()
    visit.page.wait_for_function("() => !document.querySelector('#wrong').disabled")


def asked(visit: Visit) -> None:
    """The question whether a correction may be kept."""
    written(visit)
    visit.page.locator("#choices button", has_text="1").click()
    visit.page.wait_for_selector("#consent[open]")


def kept(visit: Visit) -> None:
    """Two corrections, kept."""
    asked(visit)
    visit.page.get_by_role("button", name="Yes, keep my corrections").click()
    visit.page.wait_for_selector("#kept li")
    visit.page.locator("#choices button", has_text="2").click()
    visit.page.wait_for_function("() => document.querySelectorAll('#kept li').length === 2")


def rejected(visit: Visit) -> None:
    """A letter, which is no digit."""
    visit.write("W")
    visit.page.wait_for_function("() => document.querySelector('#verdict').dataset.state === 'rejected'")


def focused(visit: Visit) -> None:
    """The ring around what the keyboard is on."""
    written(visit)
    for _ in range(6):
        visit.page.keyboard.press("Tab")


def docs(visit: Visit) -> None:
    """The reference, one operation open."""
    visit.page.goto(visit.page.url + "docs")
    visit.page.wait_for_selector("html[data-ready]")
    visit.page.locator("summary").first.click()


STATES: dict[str, Callable[[Visit], None]] = {
    "empty": lambda _: None,
    "written": written,
    "numbers": numbers,
    "asked": asked,
    "kept": kept,
    "rejected": rejected,
    "focused": focused,
    "docs": docs,
}


def shoot(browser: Browser, url: str, state: str, size: str, theme: str, path: Path) -> None:
    """One picture of one state."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if theme == "dark" else "light",
        device_scale_factor=1,
        is_mobile=width < 500,
        has_touch=width < 500,
        reduced_motion="reduce",
    )
    visit = Visit(context.new_page(), url)
    STATES[state](visit)
    page: Page = visit.page
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)
    page.screenshot(path=path, full_page=True)
    context.close()
    print(path)


def main() -> None:
    """Start a service and a browser; draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every state at every size and theme, into FOLDER")
    folder = parser.parse_args().all
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        service = Running("--state", f"{scratch}/state", store=f"sqlite:///{scratch}/corrections.sqlite3")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        if folder is None:
            for size in SIZES:
                shoot(browser, service.url, "written", size, "light", ROOT / f"docs/images/page-{size}.png")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            for state in STATES:
                for size in SIZES:
                    for theme in ("light", "dark"):
                        shoot(browser, service.url, state, size, theme, folder / f"{state}-{size}-{theme}.png")
        browser.close()
        service.stop()


if __name__ == "__main__":
    main()
