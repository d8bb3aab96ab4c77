"""A linear layer between an image encoder and a projector of different widths."""

from __future__ import annotations

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn


class ImageAdapter(ModelMixin, ConfigMixin):
    """Image tokens of one width -> another; starts as the identity on the common channels.

    Args:
        tower_dim: width of the image encoder's tokens.
        projector_dim: input width of the projector.
    """

    @register_to_config
    def __init__(self, tower_dim: int, projector_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(tower_dim, projector_dim)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, tower_dim) -> (B, N, projector_dim)."""
        return self.linear(tokens)
