"""This process as a backend of several trials, whose networks are computed as one.

Every trial is the trainer that it would be alone, in a fibre. It runs until it needs a pass of
its network, or an epoch has ended. When all wait, passes of the same kind and shape are computed
together. A trial that waits for the pass of a step of its classifier waits for all others to
arrive there: else trials of different losses, or of different ages, would never meet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dynaloss.config.trial import ResourcesConfig, TrialConfig
from dynaloss.execution.backends.contract import Listener, Work, note_on_retry, sigterm_as_sigint
from dynaloss.execution.backends.fibres import Fibre
from dynaloss.execution.backends.in_process import require_gpu
from dynaloss.execution.trial.assembly import trial_device
from dynaloss.execution.trial.process import trial_threads
from dynaloss.execution.trial.runner import StepResult, TrialOrder, TrialRunner
from dynaloss.lazy import torch

if TYPE_CHECKING:
    from dynaloss.learning.stacked_passes import Request


@dataclass(frozen=True, slots=True)
class Stacked:
    """Runs up to `resources.stack` trials at a time in this process, on one device.

    Args:
        resources: What the stack occupies: its threads, and whether it trains on a GPU.
        most: Most trials at a time; by default `resources.stack`.
    """

    resources: ResourcesConfig
    most: int | None = None

    @property
    def slots(self) -> int:
        """See `Backend.slots`."""
        return min(self.resources.stack, self.most or self.resources.stack)

    def run(self, work: Work, listener: Listener) -> None:
        """See `Backend.run`.

        Raises:
            InputError: If a GPU is wanted where there is none.
        """
        require_gpu(self.resources)
        with sigterm_as_sigint(), trial_threads(self.resources), suppress(KeyboardInterrupt):
            cuda = range(torch.cuda.device_count()) if self.resources.gpu else ()
            with torch.random.fork_rng(cuda):
                _Run(work, listener, self.resources.gpu, self.slots).to_the_end()


class _Place:
    """A place of the stack, and the trial that has it.

    Attributes:
        order: The trial.
        request: What it waits for; None between epochs.
    """

    def __init__(self, order: TrialOrder, work: Work, gpus: float, tries_left: int) -> None:
        from dynaloss.learning.stacked_passes import can_stack

        self.order, self.tries_left = order, tries_left
        self.request: Request | None = None
        self._answer: Any = None
        source = work.sources[order.source]
        if can_stack(TrialConfig.model_validate(order.config)):
            self._fibre: Fibre | None = Fibre(self._body, trial_device(gpus))
            self.runner = TrialRunner(order, source, gpus, self._fibre.give)
        else:  # an epoch at a time while the others wait
            self._fibre = None
            self.runner = TrialRunner(order, source, gpus)

    def _body(self, give: Any) -> None:  # noqa: ANN401 - see `Fibre`
        while True:
            give(self.runner.step())

    def answer(self, answer: object) -> None:
        """Lets the trial continue with an answer the next time."""
        self.request, self._answer = None, answer

    def advance(self) -> StepResult | None:
        """Runs the trial until it waits for a pass, or until a step has a result."""
        if self._fibre is None:
            return self.runner.step()
        answer, self._answer = self._answer, None
        value = self._fibre.resume(answer)
        if isinstance(value, StepResult):
            return value
        self.request = value
        return None

    def close(self) -> None:
        """Ends the trial where it is."""
        if self._fibre is not None:
            self._fibre.close()


@dataclass(slots=True)
class _Run:
    """Runs the trials of some work."""

    work: Work
    listener: Listener
    gpus: float
    slots: int
    places: list[_Place] = field(default_factory=list)
    alone: set[Hashable] = field(default_factory=set)
    has_news: bool = True

    def to_the_end(self) -> None:
        """Runs until no order is left; on an interruption saves all trials."""
        try:
            while self._filled():
                for place in list(self.places):
                    if place.request is None:
                        self._advance(place)
                self._serve()
        except BaseException:
            for place in self.places:
                place.close()
            with ExitStack() as every:  # one that cannot be written keeps no other from it
                for place in self.places:
                    every.callback(place.runner.save)
            raise

    def _filled(self) -> bool:
        """Fills free places, if something has happened since; whether a trial is left."""
        while self.has_news and len(self.places) < self.slots:
            try:
                order = next(self.work.orders)
            except StopIteration:
                self.has_news = False
                break
            if order is not None:
                self.places.append(_Place(order, self.work, self.gpus, self.work.retries))
            elif self.places:  # the next order follows from one of these
                self.has_news = False
        return bool(self.places)

    def _advance(self, place: _Place) -> None:
        result = place.advance()
        if result is None:
            return
        self.has_news = True
        key = place.order.key
        if result.may_pass and place.tries_left:
            self.listener.note(key, note_on_retry(result.message))
            self._leave(place)
            again = _Place(place.order, self.work, self.gpus, place.tries_left - 1)
            self.places.append(again)
        elif not self.listener.take(key, result):
            self._leave(place)

    def _leave(self, place: _Place) -> None:
        self.places.remove(place)
        place.close()

    def _serve(self) -> None:
        """Answers the requests if all trials wait; those for a step if there are no others."""
        waiting = [(place, place.request) for place in self.places if place.request is not None]
        if len(waiting) < len(self.places):
            return
        others = [(place, request) for place, request in waiting if not request.is_step]
        groups: dict[Hashable, list[tuple[_Place, Request]]] = defaultdict(list)
        for place, request in others or waiting:
            groups[request.key].append((place, request))
        for group in groups.values():
            answers = self._answers([request for _, request in group])
            for (place, _), answer in zip(group, answers, strict=True):
                place.answer(answer)

    def _answers(self, requests: list[Request]) -> Sequence[Any]:
        """The answers to requests of the same key; None for passes that each computes alone."""
        first, nothing = requests[0], [None] * len(requests)
        if len(requests) < first.least or not self.alone.isdisjoint({first.signature, first.form}):
            return nothing
        try:
            return first.together(requests)
        except Exception as error:  # of memory, or of a network that vmap cannot compute
            lacks_memory = isinstance(error, torch.OutOfMemoryError)
            # A pass in evaluation needs more memory than one in training, which may still fit.
            self.alone.add(first.form if lacks_memory else first.signature)
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            self.listener.note(None, _NOT_STACKED.format(reason))
            return nothing


_NOT_STACKED = "passes of these trials cannot be stacked ({}): each is computed by itself"
