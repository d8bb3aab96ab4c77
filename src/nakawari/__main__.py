"""`python -m nakawari`, also used by `accelerate launch -m nakawari`."""

from .cli.main import run

if __name__ == "__main__":
    run()
