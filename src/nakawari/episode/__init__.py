"""Episodes: hundreds of cuts, each an idempotent unit of work, drawn on one machine or many."""
