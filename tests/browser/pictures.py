"""Takes the pictures of all pages for `docs/img/console/`: `python -m tests.browser.pictures`."""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from sagacity.store.private import PrivatePostgres
from tests.browser.shop import Shop

INTO = Path(__file__).resolve().parents[2] / "docs" / "img" / "console"
SIZE = {"width": 1120, "height": 700}


def _filled(shop: Shop) -> dict[str, str]:
    """Something to see; the address of each page by its name."""
    done = shop.start("Sale", order="S-1001", customer="ana", amount="17.57")
    sale = shop.stuck("S-1002")
    shop.stuck("S-1004")
    shop.start("Sale", order="S-1003", customer="S-1002", amount="3.00")
    shop.start("Credit", number="C-7", customer="fay", amount="25.00")
    shop.reaches(done, "committed")
    shop.sagacity("pause", "C-7", "--reason", "the books are being closed", "--yes")
    return {
        "attention": "/",
        "sagas": "/sagas",
        "saga": f"/sagas/{sale}",
        "events": f"/sagas/{sale}/lines",
        "act": f"/sagas/{sale}/acts/skip",
        "plan": f"/sagas/{sale}/acts/abandon",
        "operations": "/operations",
        "locks": "/locks",
        "dry-runs": "/dry-runs",
        "definitions": "/definitions",
        "audit": "/audit",
    }


def _take(url: str, pages: dict[str, str]) -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for colours in ("light", "dark"):
            page = browser.new_page(viewport=SIZE, color_scheme=colours)  # type: ignore[arg-type]
            for name, path in pages.items():
                page.goto(url + path)
                if name == "plan":
                    page.get_by_role("button", name="Plan it").click()
                if name == "definitions":
                    page.get_by_text("its states").first.click()
                    page.get_by_text("its states").first.evaluate("it => it.scrollIntoView()")
                page.screenshot(path=INTO / f"{name}-{colours}.png")
        browser.close()


def main() -> int:
    """Take them all; the exit code is 1 where together they are over 2 MB."""
    INTO.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="sagacity-pictures-"))
    with PrivatePostgres(folder / "pg", durable=False) as server:
        (folder / "shop").mkdir()
        shop = Shop(folder / "shop", server.create_database("pictures"))
        shop.sagacity("migrate")
        with shop.working(), shop.serving() as url:
            _take(url, _filled(shop))
        shop.close()
    shutil.rmtree(folder)
    size = sum(picture.stat().st_size for picture in INTO.glob("*.png"))
    print(f"{len(list(INTO.glob('*.png')))} pictures, {size} bytes")
    return int(size > 2_000_000)


if __name__ == "__main__":
    sys.exit(main())
