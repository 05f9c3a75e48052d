"""Means, intervals and paired differences over the few seeds of a trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from dynaloss.analysis.statistics.significance import sign_flip_p
from dynaloss.studies.trial_record import Outcome, TrialRecord

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        n: Number of seeds.
        mean: Mean over them, in the unit of the metric.
        ci95: Interval of the mean, see `t_interval`; None with fewer than two seeds.
    """

    n: int
    mean: float
    ci95: Interval | None


class Verdict(StrEnum):
    """What the seeds say of a difference to the baseline.

    EQUIVALENT: it lies within the margin of the comparison, where there is one, by two one-sided t
    tests, adjusted over the table, at 0.05. BETTER, WORSE: its adjusted p value is at most 0.05.
    INCONCLUSIVE: none of these, or too few seeds for a test.
    """

    BETTER = "better"
    EQUIVALENT = "equivalent"
    WORSE = "worse"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference(Estimate):
    """Mean over the shared seeds of (arm minus baseline).

    Attributes:
        by_seed: The difference of each shared seed.
        p: Two-sided p value of the sign-flip test, see `sign_flip_p`, uncorrected.
        p_adjusted: The same, adjusted over the table, see `adjusted_p`; NaN until it is.
        p_equivalent: P value of lying within the margin of the comparison, see `tost_p`, adjusted
            over the table by Holm's method; NaN until it is, without a margin, and for too few
            seeds.
        simultaneous: Interval at 95 % for all differences of the table at once; None until it is
            known, and for fewer than two seeds.
        verdict: See `Verdict`.
    """

    by_seed: Mapping[int, float] = field(default_factory=dict)
    p: float = math.nan
    p_adjusted: float = math.nan
    p_equivalent: float = math.nan
    simultaneous: Interval | None = None
    verdict: Verdict = Verdict.INCONCLUSIVE

    @property
    def clear(self) -> bool:
        """Whether the difference is more than chance."""
        return self.verdict in (Verdict.BETTER, Verdict.WORSE)

    @property
    def effect_size(self) -> float:
        """Standardised: mean over standard deviation of the differences, by Hedges' correction.

        Cohen's d_z, times 1 - 3 / (4 (n - 1) - 1) (Hedges, J. Educ. Stat. 6(2), 1981). NaN for
        fewer than two seeds, or without a spread.
        """
        spread = std([*self.by_seed.values()])
        return self.mean / spread * (1 - 3 / (4 * self.n - 5)) if spread > 0 else math.nan


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean, correctly rounded, so the order of the seeds does not matter."""
    return math.fsum(values) / len(values) if values else math.nan


def mean_by_arm(
    records: Sequence[TrialRecord], value: Callable[[TrialRecord], float | None]
) -> dict[str, float]:
    """Mean per arm over the completed trials that have a finite value."""
    found: dict[str, list[float]] = {}
    for record in records:
        one = value(record) if record.outcome is Outcome.COMPLETED else None
        if one is not None and math.isfinite(one):
            found.setdefault(record.arm, []).append(one)
    return {arm: mean(values) for arm, values in found.items()}


def std(values: Sequence[float]) -> float:
    """Sample standard deviation with n - 1 in the denominator; NaN for fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Student's interval for the mean, mean ± t(n - 1) * std / sqrt(n); None for n < 2.

    Exact for normally distributed values at any n (Student, Biometrika 6(1), 1908), and wide for
    few values: t is 12.7 at n = 2 and 4.3 at n = 3. A bootstrap gains nothing over it at 30 values
    and is too narrow for fewer.
    """
    if len(values) < 2:
        return None
    from scipy.special import stdtrit  # `scipy.stats` takes a second to import

    factor = float(stdtrit(len(values) - 1, (1 + level) / 2))
    half = factor * std(values) / math.sqrt(len(values))
    return mean(values) - half, mean(values) + half


def tost_p(values: Sequence[float], margin: float) -> float:
    """P value of a mean within ± margin: the larger of two one-sided t tests; NaN for n < 2.

    Schuirmann, J. Pharmacokin. Biopharm. 15(6), 1987: equivalence is shown where the mean is shown
    to be above -margin and below margin.
    """
    if len(values) < 2:
        return math.nan
    room = margin - abs(mean(values))  # the nearer end decides
    error = std(values) / math.sqrt(len(values))
    if error == 0:
        return float(room <= 0)
    from scipy.special import stdtr

    return float(stdtr(len(values) - 1, -room / error))


def paired_difference(
    values: Mapping[int, float], baseline: Mapping[int, float]
) -> PairedDifference | None:
    """Difference of an arm to the baseline over the seeds that both have; None without one.

    Equal seeds share split, tail, noise and initial weights, so pairing removes their spread.
    """
    by_seed = {seed: values[seed] - baseline[seed] for seed in sorted(values.keys() & baseline)}
    if not by_seed:
        return None
    differences = [*by_seed.values()]
    return PairedDifference(
        n=len(differences),
        by_seed=by_seed,
        mean=mean(differences),
        ci95=t_interval(differences),
        p=sign_flip_p(differences),
    )
