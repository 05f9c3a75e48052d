"""The designs: which subsets of the components are switched on together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from dynaloss.config.families import DESIGNS

_Subset = tuple[str, ...]
_Word = frozenset[str]


@dataclass(frozen=True, slots=True)
class Fraction:
    """A regular two-level fraction of a factorial design.

    Box and Hunter, "The 2^(k-p) Fractional Factorial Designs", Technometrics 3(3), 1961.

    Attributes:
        components: Names of the components.
        generators: Per generated component the ones whose product it is; signs are chosen so that
            the fraction holds the arm with everything switched on.
    """

    components: tuple[str, ...]
    generators: Mapping[str, tuple[str, ...]]

    def subsets(self) -> list[_Subset]:
        """The arms, the full one first."""
        base = [name for name in self.components if name not in self.generators]
        sizes = reversed(range(len(base) + 1))
        return [self._subset(on) for size in sizes for on in combinations(base, size)]

    def _subset(self, on: Sequence[str]) -> _Subset:
        # A product of signs is +1 where an even number of its factors is off.
        chosen = {*on}
        for name, factors in self.generators.items():
            if sum(factor not in on for factor in factors) % 2 == 0:
                chosen.add(name)
        return tuple(name for name in self.components if name in chosen)

    def words(self) -> list[_Word]:
        """The defining relation: every product of components that is +1 in all arms."""
        first = [frozenset({name, *factors}) for name, factors in self.generators.items()]
        words: list[_Word] = []
        for word in first:
            words += [word, *(word ^ other for other in words)]
        return words

    @property
    def resolution(self) -> int:
        """Length of the shortest word; one more than all components for the full factorial."""
        return min(map(len, self.words()), default=len(self.components) + 1)

    def describe(self) -> str:
        """Size, generators and what is aliased, up to two-factor interactions."""
        everything = 2 ** len(self.components)
        if not self.generators:
            return (
                f"fractional design: no fraction has the resolution, so all {everything} arms run"
            )
        arms = everything // 2 ** len(self.generators)
        roman = {3: "III", 4: "IV", 5: "V", 6: "VI", 7: "VII"}.get(self.resolution, "above VII")
        generated = ", ".join(f"{n} = {' × '.join(fs)}" for n, fs in self.generators.items())
        aliased = "; ".join(self._aliases()) or "no main effects or two-factor interactions"
        return (
            f"fractional design of resolution {roman}: {arms} of {everything} arms, "
            f"generators {generated}; aliased: {aliased}"
        )

    def _aliases(self) -> Iterator[str]:
        """Main effects and two-factor interactions that the arms cannot separate."""
        names = self.components
        effects = [(n,) for n in names] + list(combinations(names, 2))
        words = self.words()
        done: set[_Word] = set()
        for effect in effects:
            if frozenset(effect) in done:
                continue
            same = [e for e in effects if frozenset(e) ^ frozenset(effect) in words]
            done |= {frozenset(e) for e in same}
            if same:
                yield " = ".join(" × ".join(e) for e in (effect, *same))


def fraction_of(components: Sequence[str], resolution: int) -> Fraction:
    """The smallest regular fraction of at least the resolution; the full factorial if none is."""
    names = tuple(components)
    for size in range(2, len(names)):
        found = _generators(names[:size], names[size:], {}, resolution)
        if found is not None:
            return Fraction(names, found)
    return Fraction(names, {})


def _generators(
    base: _Subset, left: _Subset, chosen: dict[str, _Subset], resolution: int
) -> dict[str, _Subset] | None:
    """Generators for the components left, those of long words first; None where there are none."""
    if not left:
        return chosen
    for size in reversed(range(resolution - 1, len(base) + 1)):
        for factors in combinations(base, size):
            tried = {**chosen, left[0]: factors}
            if Fraction((*base, *tried), tried).resolution >= resolution:
                found = _generators(base, left[1:], tried, resolution)
                if found is not None:
                    return found
    return None


def _factorial(components: Sequence[str], _: int) -> list[_Subset]:
    sizes = range(len(components) + 1)
    return [subset for size in sizes for subset in combinations(components, size)]


def _leave_one_out(components: Sequence[str], _: int) -> list[_Subset]:
    everything = tuple(components)
    return [everything, *(tuple(n for n in everything if n != out) for out in everything)]


DESIGNS.add(name="factorial", description="every combination", subsets=_factorial)
DESIGNS.add(name="leave_one_out", description="all, and all but each one", subsets=_leave_one_out)
DESIGNS.add(
    name="only_one",
    description="none, and each one alone",
    subsets=lambda components, _: [(), *((name,) for name in components)],
)
DESIGNS.add(
    name="path",
    description="from none to all, one more component at a time, in their order",
    source="Fawcett, Hoos, Analysing Differences Between Algorithm Configurations through "
    "Ablation, Journal of Heuristics 22, 2016; there the order is chosen, here it is given",
    subsets=lambda components, _: [tuple(components[:n]) for n in range(len(components) + 1)],
)
DESIGNS.add(
    name="fractional",
    description="the smallest regular fraction of the factorial that has the resolution",
    source="Box, Hunter, The 2^(k-p) Fractional Factorial Designs, Technometrics 3(3), 1961",
    subsets=lambda components, resolution: fraction_of(components, resolution).subsets(),
)
