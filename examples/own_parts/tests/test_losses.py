"""The losses keep the contract of their family."""

from dynaloss.testing import check_loss


def test_the_loss_keeps_its_contract() -> None:
    """At a temperature of its own."""
    check_loss("own_parts.losses:TEMPERED", temperature=2.0)
