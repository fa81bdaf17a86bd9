"""The side of the page's program: Textual's driver for a browser, which ends with its server."""

from textual.drivers.web_driver import WebDriver
from textual.messages import ExitApp


class BrowserDriver(WebDriver):
    """Leaves the application when nobody is at the other end any more."""

    def run_input_thread(self) -> None:
        super().run_input_thread()
        self._app.post_message(ExitApp())
