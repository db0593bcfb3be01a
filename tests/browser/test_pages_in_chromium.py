"""
The pages in a real browser: every state, both colour schemes, a phone, the keyboard, and the accessibility rules.

Needs Debian's ``chromium``, the package ``playwright`` and, for the rules, axe-core as pinned in ``.ci/tools``. What
is missing makes the tests skip by name, and fail where CI is true. Screenshots go to the folder that COC_SCREENSHOTS
names.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from browser import worlds
from exporter.pages import routes

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coc-exporter" / "node"
AXE = CACHE / "node_modules" / "axe-core" / "axe.min.js"
TICKET = f"/tickets/prod/{worlds.uuid(1)}"
FOREIGN = f"/tickets/%E4%BA%A7%E5%93%81%2F%D9%A3/{worlds.uuid(5)}"
STATES = {
    **{f"overview-{name}": f"/{name}/" for name in worlds.WORLDS},
    "overview-nothing-matches": "/busy/?account=gone",
    "overview-second-page": "/thousands/?sort=name&page=2",
    "ticket-abnormal": f"/busy{TICKET}",
    "ticket-processing": f"/busy/tickets/prod/{worlds.uuid(2)}",
    "ticket-finished": f"/quiet{TICKET}",
    "ticket-not-read": f"/starting{TICKET}",
    "ticket-stale": f"/stale/tickets/prod/{worlds.uuid(2)}",
    "ticket-failed": f"/failing{TICKET}",
    "ticket-foreign": f"/foreign{FOREIGN}",
    "ticket-without-logs": f"/silent{TICKET}",
    "ticket-one-batch": f"/busy{TICKET}?batch=2&status=FINISHED",
}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}


def lacking(what: str) -> None:
    """Skip, or fail where nothing may be left out."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@dataclass(frozen=True)
class Visit:
    """A page, and what the browser complained of."""

    page: Page
    complaints: list[str]


Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        lacking("chromium is not installed")
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415  absent on most machines
    except ImportError:
        lacking("the package playwright is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Serve every world below its own prefix."""
    made = {name: worlds.desk(world(), external_url=f"http://x/{name}") for name, world in worlds.WORLDS.items()}
    made["silent"] = worlds.desk(worlds.busy(), show_logs=False, external_url="http://x/silent")
    with served(Starlette(routes=[Mount(f"/{name}", routes=routes(desk)) for name, desk in made.items()])) as address:
        yield address


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # A connection made before the loop runs waits in the socket's queue: nothing to wait for here.
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def visit(chromium: Browser, site: str) -> Iterator[Open]:
    contexts: list[BrowserContext] = []

    def opened(path: str, **options: Any) -> Visit:
        context = chromium.new_context(**(LOOKS["light"] | options))
        contexts.append(context)
        page, complaints = context.new_page(), list[str]()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on(
            "request",
            lambda request: None if request.url.startswith((site, "data:")) else complaints.append(request.url),
        )
        page.goto(site + path)
        return Visit(page, complaints)

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = os.environ.get("COC_SCREENSHOTS")
    if folder is None:
        return tmp_path_factory.mktemp("screenshots")
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.is_file():
        lacking(f"axe-core is not installed below {CACHE}")
    return AXE.read_text()


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("state", STATES)
def test_each_state_fits_its_screen_and_the_browser_complains_of_nothing(
    state: str, look: str, visit: Open, album: Path
) -> None:
    seen = visit(STATES[state], **LOOKS[look])
    for fold in seen.page.locator("summary").all()[:2]:
        fold.click()
    seen.page.screenshot(path=album / f"{state}-{look}.png", full_page=len(seen.page.content()) < 200_000)
    assert seen.complaints == []
    assert seen.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert seen.page.locator("h1").count() == 1


# The rules take seconds on a hundred rows, and rows are alike: once is enough.
JUDGED = [(state, look) for state in STATES for look in LOOKS if "/thousands/" not in STATES[state] or look == "light"]


@pytest.mark.parametrize(("state", "look"), JUDGED)
def test_axe_finds_no_violation(state: str, look: str, visit: Open, axe: str) -> None:
    path = STATES[state]
    page = visit(f"{path}{'&' if '?' in path else '?'}refresh=off", **LOOKS[look]).page
    for fold in page.locator("summary").all()[:2]:
        fold.click()
    assert violations(page, axe) == []


def test_axe_minds_only_the_refresh_itself_which_the_page_offers_to_switch_off(visit: Open, axe: str) -> None:
    page = visit("/busy/").page
    assert violations(page, axe) == ["meta-refresh"]
    page.get_by_role("link", name="Switch off").click()
    assert violations(page, axe) == []


def violations(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [broken["id"] for broken in found["violations"]]


@pytest.mark.parametrize("scripts", [True, False])
def test_two_clicks_lead_from_abnormal_to_the_failing_hosts_last_log_lines(scripts: bool, visit: Open) -> None:
    page = visit("/busy/", java_script_enabled=scripts).page
    assert "ABNORMAL" in page.locator("h1").inner_text()
    page.get_by_role("link", name="nightly-openssl").first.click()
    page.locator("summary", has_text="web-0005").click()
    log = page.get_by_role("group", name="End of the log of web-0005")
    assert log.inner_text().rstrip().endswith("No space left on device\nexit status 1")


def test_the_link_of_the_last_error_opens_the_fold_at_once(visit: Open) -> None:
    page = visit("/busy/").page
    page.get_by_role("link", name="package_lock on db-0006").click()
    page.get_by_text("It is held by process 912").wait_for(state="visible")
    assert page.locator("details[open]").count() == 1


def test_a_hostile_log_and_name_run_nothing(visit: Open) -> None:
    seen = visit(f"/foreign{FOREIGN}")
    for fold in seen.page.locator("summary").all():
        fold.click()
    assert "owned" not in seen.page.title()
    assert seen.page.locator("script, img, iframe").count() == 0
    assert "<script>document.title='owned'</script>" in seen.page.locator("pre").first.inner_text()
    assert seen.complaints == []


def test_a_long_log_is_opened_at_its_end(visit: Open) -> None:
    page = visit(f"/foreign{FOREIGN}").page
    page.locator("summary").nth(1).click()
    box = page.locator(".log").nth(1)
    # Reversed boxes count from their end.
    assert box.evaluate("box => box.scrollTop") == 0
    assert box.evaluate(
        "box => box.lastElementChild.getBoundingClientRect().bottom <= box.getBoundingClientRect().bottom + 1"
    )


def test_dark_and_light_differ_and_both_are_readable(visit: Open) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    shades = [visit("/busy/", color_scheme=scheme).page.evaluate(background) for scheme in ("light", "dark")]
    assert shades == ["rgb(244, 246, 248)", "rgb(15, 21, 27)"]


def test_the_keyboard_reaches_the_content_first_and_opens_a_fold(visit: Open) -> None:
    page = visit(f"/busy{TICKET}").page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == 1


def test_filters_orders_and_pages_are_plain_links(visit: Open) -> None:
    page = visit("/thousands/", java_script_enabled=False).page
    page.get_by_role("link", name="Finished").click()
    page.get_by_role("columnheader", name="Ticket").get_by_role("link").click()
    page.get_by_role("link", name="Next").click()
    assert page.locator("#tickets-title").inner_text().split()[1] == "101\u2013200"
    assert page.locator("tbody th").first.inner_text().startswith("job-")
