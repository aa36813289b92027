"""Finding tools among many: the index, and what a prompt says of tools that it does not show."""

from codemode_graph.catalogue.catalogue import CARD_TOKENS, Catalogue
from codemode_graph.catalogue.observation import Notes, Observations, ObservedSchemas, ObservedTypes

__all__ = ["CARD_TOKENS", "Catalogue", "Notes", "Observations", "ObservedSchemas", "ObservedTypes"]
