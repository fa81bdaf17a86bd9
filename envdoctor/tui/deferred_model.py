"""A model that is loaded behind the first paint.

What the work needs (probes, knowledge, repairs) is a third of all that is imported, and nothing of
it is on the first screen.
"""

import threading
from collections.abc import Callable

from envdoctor.errors import described
from envdoctor.report import Report
from envdoctor.tui.contract import Failed, Listener, Model, WorkEnded

Request = Callable[[Model], object]


class DeferredModel:
    """Makes the model in a thread once it is started; what is asked of it before then is done in
    its turn."""

    def __init__(self, make: Callable[[], Model]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._model: Model | None = None
        self._requests: list[Request] = []
        self._closed = False

    def start(self, listener: Listener) -> None:
        threading.Thread(target=self._load, args=(listener,), name="model", daemon=True).start()

    def _load(self, listener: Listener) -> None:
        try:
            model = self._make()
        except Exception as error:
            listener(Failed(message=f"envdoctor is not installed whole: {described(error)}"))
            listener(WorkEnded())
            return
        with self._lock:
            if self._closed:
                return
            model.start(listener)
            for request in self._requests:
                request(model)
            self._model = model

    def _ask(self, request: Request) -> None:
        with self._lock:
            if self._model is None:
                self._requests.append(request)
                return
        request(self._model)

    def gpus(self) -> tuple[str, ...]:
        return () if self._model is None else self._model.gpus()

    def rerun(self, checks: tuple[str, ...] | None = None) -> None:
        self._ask(lambda model: model.rerun(checks))

    def switch_target(self, path: str) -> None:
        self._ask(lambda model: model.switch_target(path))

    def show(self, key: str) -> None:
        self._ask(lambda model: model.show(key))

    def find_targets(self) -> None:
        self._ask(lambda model: model.find_targets())

    def calibrate(self) -> None:
        self._ask(lambda model: model.calibrate())

    def stop(self) -> None:
        self._ask(lambda model: model.stop())

    def predict(self, gpu: str) -> None:
        self._ask(lambda model: model.predict(gpu))

    def compare(self) -> None:
        self._ask(lambda model: model.compare())

    def watch(self, *, on: bool) -> None:
        self._ask(lambda model: model.watch(on=on))

    def page(self, code: str) -> str | None:
        return None if self._model is None else self._model.page(code)

    def find_files(self) -> None:
        self._ask(lambda model: model.find_files())

    def open(self, path: str) -> None:
        self._ask(lambda model: model.open(path))

    def save(self, kind: str, path: str, report: Report) -> None:
        self._ask(lambda model: model.save(kind, path, report))

    def close(self) -> None:
        with self._lock:
            self._closed = True
        if self._model is not None:
            self._model.close()
