"""Functions that run in turns: each in a thread of its own, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from dynaloss.lazy import torch


class _Closed(BaseException):
    """Ends a function that waits; no `except Exception` of a trial takes it for its own."""


class Fibre:
    """A function that hands out values, and waits for an answer to each.

    Only one of all fibres and their caller runs at a time, so what is global in a process needs
    no lock. What is a thread's own in torch, such as whether gradients are enabled, is
    the fibre's own; so are the states of torch's default random generators here. Signals arrive
    at the caller.

    Args:
        body: The function; it is given `Fibre.give`.
        device: Where it computes.
    """

    def __init__(self, body: Callable[[Callable[[Any], Any]], None], device: torch.device) -> None:
        self._body, self._device = body, device
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._value: Any = None
        self._error: BaseException | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def resume(self, answer: object = None) -> Any:  # noqa: ANN401 - whatever it gives
        """Lets the function continue with an answer, and returns the next value that it gives."""
        self._value = answer
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._go.release()
        self._back.acquire()
        if self._error is not None:
            raise self._error
        return self._value

    def give(self, value: object) -> Any:  # noqa: ANN401 - whatever the answer is
        """Hands out a value, and returns the answer; called by the function."""
        from dynaloss.learning.streams import default_states, set_default_states

        states = default_states(self._device)
        self._value = value
        self._back.release()
        self._go.acquire()
        if self._is_closed:
            raise _Closed
        set_default_states(states, self._device)
        return self._value

    def close(self) -> None:
        """Ends the function where it waits, or will next, and waits for its end."""
        self._is_closed = True
        self._go.release()
        if self._thread.ident is not None:
            self._thread.join()
        del self._body  # which may hold, by way of its owner, what this holds: a whole trial

    def _run(self) -> None:
        try:
            self._body(self.give)
        except _Closed:
            pass
        except BaseException as error:  # the caller raises it
            self._error = error
        self._back.release()
