"""`python -m nakawari`, which is also what `accelerate launch -m nakawari` runs."""

from .cli.main import run

if __name__ == "__main__":
    run()
