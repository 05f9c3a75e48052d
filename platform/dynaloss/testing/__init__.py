"""Conformance suites for parts of other packages, for their tests.

In a file of pytest's, where `my_package` has a loss:

    from dynaloss.testing import check_loss


    def test_the_loss_keeps_its_contract() -> None:
        check_loss("my_package.losses:MINE", temperature=2.0)

The built-in parts pass the same suites.
"""

from dynaloss.testing.rules import ContractError
from dynaloss.testing.suites import (
    check_component,
    check_loss,
    check_model,
    check_noise,
    check_sampler,
    check_source,
)

__all__ = [
    "ContractError",
    "check_component",
    "check_loss",
    "check_model",
    "check_noise",
    "check_sampler",
    "check_source",
]
