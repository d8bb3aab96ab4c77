"""An episode: hundreds of cuts, each an idempotent unit of work, on one machine or many."""
