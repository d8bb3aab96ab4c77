"""One protocol for every variant: metrics, floors, statistics, cost, and the runner that ties them together."""
