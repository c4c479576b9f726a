# march: set up, build, test, compare. `make bench` is the main job, `make test` the tests.

GO       ?= go
CACHE    ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/march
PYTHON   ?= python3
CHECKER  := $(CACHE)/checker-onnx-1.23.2
NVRTC    := $(CACHE)/nvrtc-13.2.86
STATIC   := honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: all setup setup-cuda build bench test test-race test-tools test-kernels check-onnx lint generate goldens examples interop clean

all: build

# ONNX Runtime, pinned, into the user's cache; nothing to do where it is there.
# Compiled as build is, so that a first build need not compile the same again.
setup:
	$(GO) run -trimpath ./tools/setup

# The build for NVIDIA's GPUs (Linux on x86-64), beside the other. Nothing else asks for it.
setup-cuda:
	$(GO) run -trimpath ./tools/setup --cuda

build:
	$(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/march ./cmd/march

# Six variants, trained and compared on the embedded corpus.
bench: setup build
	bin/march bench

test: setup
	$(GO) test -timeout 30m ./...

# The tools that are not Go: Python's own test runner, no package but the checker's.
test-tools: $(CHECKER)/bin/python
	$(CHECKER)/bin/python -m unittest discover tools/gpu
	cd tools/oracle && $(CHECKER)/bin/python -m unittest test_check_onnx

# March's kernels, compiled by NVIDIA's compiler, which needs no GPU (Linux on x86-64).
test-kernels: $(NVRTC)/bin/python
	MARCH_TEST_NVRTC=1 LD_LIBRARY_PATH=$$($(NVRTC)/bin/python -c 'import nvidia; print(list(nvidia.__path__)[0])')/cu13/lib $(GO) test -v -run 'Compile|TestErrors' ./runtime/internal/nvrtc ./runtime/internal/kernels

$(NVRTC)/bin/python:
	$(PYTHON) -m venv $(NVRTC).new
	$(NVRTC).new/bin/python -m pip install --quiet nvidia-cuda-nvrtc==13.2.86
	rm -rf $(NVRTC) && mv $(NVRTC).new $(NVRTC)

# The packages with goroutines, under the race detector.
test-race: setup
	$(GO) test -timeout 30m -race ./runtime/... ./trainloop/tokenizer ./trainloop/corpus ./cmd/internal/...

# Every graph of a few variants, accepted by onnx's own checker with full shape inference.
check-onnx: build $(CHECKER)/bin/python
	rm -rf bin/checked
	bin/march gen --variant 'sharing/*' --variant 'heads/*' --arch decoder,encoder,encoder-decoder --scale tiny --out bin/checked/studies > /dev/null
	bin/march gen --variant baseline+act=silu+glu=true+ff=256 --variant baseline+heads=12+qkv_dim=8 --variant gpt2 --scale tiny --out bin/checked/portable > /dev/null
	bin/march gen --variant baseline --variant very_wide_cycle --variant heads/baseline --variant gpt2 --scale tiny --target ort --out bin/checked/ort > /dev/null
	bin/march gen --variant very_wide_cycle --out bin/checked/paper > /dev/null
	for opset in 17 23 28; do bin/march gen --variant universal_act --variant heads/baseline --scale tiny --opset $$opset --shapes static --training-info --out bin/checked/opset-$$opset > /dev/null || exit 1; done
	$(CHECKER)/bin/python tools/oracle/check_onnx.py bin/checked

$(CHECKER)/bin/python:
	$(PYTHON) -m venv $(CHECKER).new
	$(CHECKER).new/bin/python -m pip install --quiet onnx==1.23.2 numpy==2.4.6
	rm -rf $(CHECKER) && mv $(CHECKER).new $(CHECKER)

# Twenty steps of step.onnx in Python, JavaScript, Rust and Java, compared with march train.
examples: setup build $(CACHE)/examples-python/bin/python
	$(CACHE)/examples-python/bin/python examples/run.py

$(CACHE)/examples-python/bin/python:
	$(PYTHON) -m venv $(CACHE)/examples-python.new
	$(CACHE)/examples-python.new/bin/python -m pip install --quiet onnxruntime==1.30.0 numpy==2.4.6 safetensors==0.8.0
	rm -rf $(CACHE)/examples-python && mv $(CACHE)/examples-python.new $(CACHE)/examples-python

# Every variant in every runtime (docs/interop.md); needs tools/oracle/requirements.txt.
interop: build
	$(PYTHON) tools/interop/interop.py

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go' | grep -v '\.pb\.go$$'))" || { gofmt -l $$(git ls-files '*.go' | grep -v '\.pb\.go$$'); echo "gofmt would change these files"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATIC) ./...
	$(GO) mod tidy -diff

# Needs protoc and google.golang.org/protobuf/cmd/protoc-gen-go in PATH.
generate:
	$(GO) generate ./...

# Recomputes the reference values with PyTorch (tools/oracle/requirements.txt).
goldens:
	$(PYTHON) tools/oracle/make_goldens.py

clean:
	rm -rf bin
