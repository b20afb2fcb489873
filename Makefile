# The first two commands of the README: `make demo` and `make test` do everything on a fresh machine.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test test-fast test-avx2 lint image image-check sbom install clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train,test,bench]'
	touch $@

demo: install  ## distil on simulated tissue; the last line says where the report is
	$(BIN)/abbe demo

# One thread a process: the tests run side by side, and small networks gain nothing from more.
# When a worker dies, the run ends and names its test: with a new worker, loadfile waits for ever.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile \
	--no-loadscope-reorder --max-worker-restart 0

test: install lint  ## everything, the real data's tests too where ../shared/data is
	$(PYTEST)

test-fast: install
	$(PYTEST) -m 'not slow and not real'

# What depends on the processor, on one that has AVX2 alone: no AVX-512, bf16 or VNNI. QEMU's user
# mode (Debian: qemu-user) computes as such a one, and every library sees what it says of itself.
QEMU    ?= qemu-x86_64 -cpu max
ON_AVX2 ?= tests/test_precision.py tests/teachers/test_torch_teacher.py \
	tests/teachers/test_run_teacher.py tests/runtime/test_engine.py \
	tests/runtime/test_package_check.py tests/exporting/test_write.py \
	tests/sam/test_sam_networks.py::test_half_precision_moves_masks_little

test-avx2: install  ## takes minutes; ON_AVX2=tests/... for other tests
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(QEMU) $(BIN)/python -m pytest $(ON_AVX2)

lint: install
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/pyright --threads

image:  ## the container of abbe serve --api; needs an engine
	docker build -t abbe .

# Without an engine: the Dockerfile linted, its steps run in a fresh folder, and what it starts asked
# (Linux, as root, some minutes). It downloads what the image would.
image-check: install
	npx --yes dockerfile-utils@0.16 lint Dockerfile
	$(BIN)/python tests/image_check.py

# What the image's environment consists of, with versions and licences (CycloneDX).
sbom:
	rm -rf build/sbom build/sbom-tool
	$(PYTHON) -m venv build/sbom
	build/sbom/bin/python -m pip install --quiet '.[service,dicom]'
	build/sbom/bin/python -m pip uninstall --quiet --yes pip setuptools
	$(PYTHON) -m venv build/sbom-tool
	build/sbom-tool/bin/python -m pip install --quiet 'cyclonedx-bom>=5'
	build/sbom-tool/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
		--output-file build/sbom.json build/sbom

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache build dist
