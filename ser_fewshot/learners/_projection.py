"""From an embedding of a thousand values to the few that a learned comparison looks at."""

from __future__ import annotations

from torch import Tensor, nn

from ser_fewshot.errors import SettingsError


class Projection(nn.Module):
    """A linear map, the same for every clip, and normalised over its own values, so that any encoder fits.

    It begins orthogonal, which keeps distances as well as a random map can (Johnson and Lindenstrauss, "Extensions of
    Lipschitz mappings into a Hilbert space", 1984, https://doi.org/10.1090/conm/026/737400).
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        self.norm = nn.LayerNorm(n_out)
        nn.init.orthogonal_(self.linear.weight)

    def forward(self, z: Tensor) -> Tensor:
        """(n, n_in) -> (n, n_out)."""
        projected: Tensor = self.norm(self.linear(z))
        return projected


def check_sizes(where: str, **sizes: int) -> None:
    """Check that every size is a whole number of at least 1.

    Raises:
        SettingsError: one is not.
    """
    for name, size in sizes.items():
        if type(size) is not int or size < 1:
            raise SettingsError(
                f"{where}.{name}", found=repr(size), expected="a whole number of at least 1", remedy="Correct it."
            )
