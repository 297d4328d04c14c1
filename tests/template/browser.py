"""A headless Chromium, driven through a pipe by its DevTools protocol."""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)

# Of a page as it is shown: by how much it is too wide, its smallest letters, what is hard to read.
MEASURE = """
(() => {
  const bright = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(value => value / 255)
      .map(value => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = element => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = {over: document.documentElement.scrollWidth - innerWidth, sizes: [], faint: []};
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim(), element = texts.currentNode.parentElement;
    if (!text || !element.getClientRects().length) continue;
    const style = getComputedStyle(element), svg = element instanceof SVGElement;
    const matrix = svg ? element.getScreenCTM() : {a: 1, b: 0};
    found.sizes.push([parseFloat(style.fontSize) * Math.hypot(matrix.a, matrix.b), text]);
    if (svg && element.closest(".role-mark")) continue;  // on a mark's own colour
    const [more, less] = [svg ? style.fill : style.color, behind(element)].map(bright)
      .sort((one, other) => other - one);
    const contrast = (more + .05) / (less + .05);
    if (contrast < 4.5) found.faint.push([contrast, text]);
  }
  return found;
})()
"""


class Browser:
    """A browser with one page; it ends with the `with` block."""

    def __init__(self, folder: Path) -> None:
        """Start it, with a profile in `folder`."""
        ours, theirs = os.pipe(), os.pipe()
        # The browser reads from 3 and writes to 4: ours must be out of the way.
        inside = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (ours[0], theirs[1])]
        command = (
            f'exec "$0" --headless --no-sandbox --disable-gpu --remote-debugging-pipe '
            f'--user-data-dir="$1" about:blank 3<&{inside[0]} 4>&{inside[1]}'
        )
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", command, PROGRAM, str(folder)],
            pass_fds=inside,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"HOME": str(folder)},
        )
        for fd in (ours[0], theirs[1], *inside):
            os.close(fd)
        self.commands, self.answers = os.fdopen(ours[1], "wb"), os.fdopen(theirs[0], "rb")
        self.count, self.rest, self.session = 0, b"", ""
        self.events: list[dict[str, Any]] = []
        page = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.commands.close()
        self.answers.close()
        self.process.kill()
        self.process.wait()

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; what happens meanwhile is kept in `events`."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        self.commands.write(json.dumps(message).encode() + b"\0")
        self.commands.flush()
        while (answer := self._next()).get("id") != self.count:
            self.events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            more = os.read(self.answers.fileno(), 1 << 20)
            assert more, "the browser has ended"
            self.rest += more
        line, _, self.rest = self.rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def open(self, page: Path) -> None:
        """Load a page and wait until all of it is there."""
        self.events.clear()
        self.send("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def show(self, width: int, scheme: str, media: str = "") -> dict[str, Any]:
        """Show the page at a width, light or dark, or as in print; measure it."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=800, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", media=media, features=features)
        found = self.send("Runtime.evaluate", expression=MEASURE, returnByValue=True)
        measured: dict[str, Any] = found["result"]["value"]
        return measured

    @property
    def requests(self) -> list[str]:
        """What the page asked for, without what it holds itself."""
        asked = [event["params"]["request"]["url"] for event in self.events
                 if event["method"] == "Network.requestWillBeSent"]  # fmt: skip
        return [url for url in asked if not url.startswith("data:")]

    @property
    def complaints(self) -> list[Any]:
        """What the browser complained about, and what scripts in the page did."""
        methods = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled",
                   "Page.javascriptDialogOpening")  # fmt: skip
        return [event["params"] for event in self.events if event["method"] in methods]
