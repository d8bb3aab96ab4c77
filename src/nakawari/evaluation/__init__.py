"""One protocol for every variant: metrics, baselines, statistics, cost, and the runner."""
