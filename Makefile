# galvatron-sim. `make help` lists the targets.
#
# Everything is built under $(BUILD): build/ for the release build, build/asan/ and so
# on for the others. A user's CFLAGS come last and never replace what is needed here.

VERSION := 0.1.0
MODE    ?= release
PREFIX  ?= /usr/local
bindir     ?= $(PREFIX)/bin
libdir     ?= $(PREFIX)/lib
includedir ?= $(PREFIX)/include
mandir     ?= $(PREFIX)/share/man
datadir    ?= $(PREFIX)/share

BUILD ?= $(if $(filter release,$(MODE)),build,build/$(MODE))

# The rooms of the library, lowest first: a room includes from rooms before it only.
ROOMS     := base plan traces costmodel schedule sim accuracy search viz
ALL_ROOMS := $(ROOMS) cli

PKGS := gsl cairo jansson yaml-0.1
ifeq ($(filter clean help deps uninstall dist,$(MAKECMDGOALS)),)
# The executor alone needs neither GSL nor cairo.
PKGS_NEEDED := $(if $(filter-out exec test-exec exec-test gpu-check gpu-bundle emulated-test,$(or $(MAKECMDGOALS),all)),$(PKGS),jansson yaml-0.1)
ifneq ($(shell pkg-config --exists $(PKGS_NEEDED) && echo yes),yes)
$(error libraries are missing: run `make deps` first, or see README.md (needed: $(PKGS_NEEDED), libcsv))
endif
endif

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wdouble-promotion \
    -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Wformat=2 -Wwrite-strings
ifdef DEV
WARNINGS += -Werror
endif

OPT_release := -O2 -g
OPT_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_tsan    := -O1 -g -fsanitize=thread
OPT_fuzz    := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
OPT_cov     := -O0 -g --coverage -fprofile-update=atomic

BASE_CFLAGS := -std=c11 -D_POSIX_C_SOURCE=200809L -DGALV_VERSION=\"$(VERSION)\" -I. \
    -ffp-contract=off -fPIC -fno-semantic-interposition -pthread $(WARNINGS) $(OPT_$(MODE)) $(foreach package,$(PKGS),$(shell pkg-config --cflags $(package) 2>/dev/null))
ALL_CFLAGS   = $(BASE_CFLAGS) $(CPPFLAGS) $(CFLAGS)
LIBS        := $(shell pkg-config --libs $(PKGS)) -lcsv -lm -pthread
ALL_LDFLAGS  = $(OPT_$(MODE)) $(LDFLAGS)

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-8s %s\n' '$(1)' '$(2)';)

# ---- sources ----
# Data files compiled in: ROOM/DIR/NAME.EXT becomes the symbol galv_data_NAME_EXT.
DATA := $(wildcard plan/catalog/*.json plan/catalog/*.csv costmodel/data/*.csv costmodel/data/*.json accuracy/data/*.csv)
DATA_OBJECTS := $(DATA:%=$(BUILD)/data/%.o)
room_sources = $(wildcard $(1)/*.c)
room_objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(call room_sources,$(1)))
LIB_OBJECTS := $(foreach room,$(ROOMS),$(call room_objects,$(room))) $(DATA_OBJECTS)
CLI_OBJECTS := $(call room_objects,cli)
HEADERS     := $(filter-out %_internal.h,$(foreach room,$(ROOMS),$(wildcard $(room)/*.h)))

LIBRARY := $(BUILD)/libgalvatron.a
SHARED  := $(BUILD)/libgalvatron.so.0
PROGRAM := $(BUILD)/galvatron-sim

comma := ,

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all lib deps test tests asan-test tsan-test thread-tests test-install exec exec-test test-exec gpu-check docs docs-check fuzz fuzz-run cov bench lint fmt man \
    install uninstall dist clean help

all: $(PROGRAM)

lib: $(LIBRARY) $(SHARED)

# A change of flags rebuilds: the stamp holds the flags of the last build.
FLAGS_NOW := $(CC) $(BASE_CFLAGS) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS)
$(shell mkdir -p $(BUILD); printf '%s' '$(subst ','\'',$(FLAGS_NOW))' | cmp -s - $(BUILD)/flags || \
    printf '%s' '$(subst ','\'',$(FLAGS_NOW))' > $(BUILD)/flags)

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/data/%.c: % tools/embed.sh
	@mkdir -p $(@D)
	$(call say,EMBED,$<)tools/embed.sh $< > $@

$(BUILD)/data/%.o: $(BUILD)/data/%.c
	$(Q)$(CC) $(ALL_CFLAGS) -c $< -o $@

$(LIBRARY): $(LIB_OBJECTS)
	$(call say,AR,$@)rm -f $@; $(AR) rcs $@ $^

$(SHARED): $(LIB_OBJECTS)
	$(call say,LD,$@)$(CC) -shared -Wl,-soname,$(notdir $@) $(ALL_LDFLAGS) $^ $(LIBS) -o $@

$(PROGRAM): $(CLI_OBJECTS) $(LIBRARY)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) -o $@

# ---- the executor: galvatron-exec ----
# A program of its own, without GSL, built where MPI and OpenBLAS are found; its CUDA part
# where nvcc and nccl.h are found too (CUDA=no leaves it out).
MPI_PKG   := $(firstword $(foreach package,ompi-c mpich,$(shell pkg-config --exists $(package) && echo $(package))))
BLAS_PKG  := $(shell pkg-config --exists openblas && echo openblas)
EXEC_MISSING := $(if $(MPI_PKG),,MPI (pkg-config ompi-c or mpich)) $(if $(BLAS_PKG),,OpenBLAS (pkg-config openblas))
EXEC      := $(if $(strip $(EXEC_MISSING)),,$(BUILD)/galvatron-exec)
EXEC_PKGS := $(MPI_PKG) $(BLAS_PKG)
EXEC_ROOMS  := base plan traces schedule
EXEC_CFLAGS := $(if $(EXEC),$(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(EXEC_PKGS))))
EXEC_LIBS    = $(shell pkg-config --libs $(EXEC_PKGS) jansson yaml-0.1) -lcsv -lm -pthread $(CUDA_LIBS)

CUDA      ?= /usr/local/cuda
NVCC      ?= $(firstword $(wildcard $(CUDA)/bin/nvcc) $(if $(filter no,$(CUDA)),,$(shell command -v nvcc)))
NCCL_H    := $(firstword $(wildcard $(CUDA)/include/nccl.h /usr/include/nccl.h))
CUDNN_H   := $(firstword $(wildcard $(CUDA)/include/cudnn_graph.h /usr/include/cudnn_graph.h /usr/include/x86_64-linux-gnu/cudnn_graph.h))
CUDNN_SOURCES := exec/cuda_dnn.cu exec/cuda_dnn_graph.cu
CUDA_SOURCES := $(strip $(filter-out exec/cuda_absent.c $(if $(CUDNN_H),exec/cuda_dnn_absent.cu,$(CUDNN_SOURCES)),$(wildcard exec/*.cu exec/cuda_*.c)))
HAVE_CUDA := $(and $(NVCC),$(NCCL_H),$(CUDA_SOURCES))
CUDA_CFLAGS := $(addprefix -isystem ,$(CUDA)/include $(dir $(NCCL_H)) $(dir $(CUDNN_H)))
CUDA_LIBS := $(if $(HAVE_CUDA),-L$(CUDA)/lib64 -Wl$(comma)-rpath$(comma)$(CUDA)/lib64 -lcudart -lcublasLt -lnccl $(if $(CUDNN_H),-lcudnn) -lstdc++)
# A100 and Hopper as machine code; later devices compile the PTX when they load it.
CUDA_ARCH ?= -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=[sm_90,compute_90]
NVCC_FLAGS = -O3 -std=c++17 $(CUDA_ARCH) -I. $(CUDA_CFLAGS) -Xcompiler -fPIC$(comma)-Wall$(comma)-Wextra \
    $(if $(DEV),--Werror all-warnings)
EXEC_SOURCES := $(filter-out exec/cuda_%,$(wildcard exec/*.c)) $(if $(HAVE_CUDA),$(CUDA_SOURCES),exec/cuda_absent.c)
EXEC_OBJECTS := $(patsubst %,$(BUILD)/obj/%.o,$(basename $(EXEC_SOURCES)))
EXEC_BELOW   := $(foreach room,$(EXEC_ROOMS),$(call room_objects,$(room))) $(filter $(BUILD)/data/plan/%,$(DATA_OBJECTS))
# The kernels of the host backend are the device here: they are worth vector code. Neither
# option changes a result: nobody reads errno or the exception flags.
$(EXEC_OBJECTS): ALL_CFLAGS += $(EXEC_CFLAGS) -fno-math-errno -fno-trapping-math \
    $(if $(filter release,$(MODE)),-O3)
$(filter $(BUILD)/obj/exec/cuda_%,$(EXEC_OBJECTS)): ALL_CFLAGS += $(CUDA_CFLAGS)

$(BUILD)/obj/exec/%.o: exec/%.cu $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,NVCC,$<)$(NVCC) $(NVCC_FLAGS) -MMD -MP -c $< -o $@

$(BUILD)/galvatron-exec: $(EXEC_OBJECTS) $(EXEC_BELOW)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) $^ $(EXEC_LIBS) -o $@

## make exec        build/galvatron-exec, where MPI and OpenBLAS are found
exec: $(EXEC)
	$(Q)$(if $(EXEC),$(if $(HAVE_CUDA),:,echo '  galvatron-exec without CUDA: $(if $(CUDA_SOURCES),nvcc or nccl.h is missing,not written yet)'),echo '  galvatron-exec is not built; missing: $(EXEC_MISSING)')

# ---- tests ----
# tests/ROOM/*.c becomes one Criterion program per room, linked with the rooms up to it:
# `make test-plan` tests one room. tests/cli/*.t are golden command tests.
TEST_ROOMS    := $(foreach room,$(ALL_ROOMS),$(if $(wildcard tests/$(room)/*.c),$(room)))
TEST_PROGRAMS := $(TEST_ROOMS:%=$(BUILD)/tests/test-%)
TEST_CFLAGS    = $(filter-out -Wconversion -Wdouble-promotion -Wpedantic,$(ALL_CFLAGS)) -DGALV_SOURCE_DIR=\"$(CURDIR)\"
rooms_upto = $(if $(filter cli,$(1)),$(ROOMS),$(call upto,$(1),$(ROOMS)))
upto = $(firstword $(2)) $(if $(filter $(1),$(firstword $(2))),,$(call upto,$(1),$(wordlist 2,99,$(2))))

define test_program
$(BUILD)/tests/test-$(1): $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/$(1)/*.c tests/support/*.c)) \
    $(foreach room,$(call rooms_upto,$(1)),$(call room_objects,$(room))) $(DATA_OBJECTS) \
    $(if $(filter cli,$(1)),$(filter-out $(BUILD)/obj/cli/main.o,$(CLI_OBJECTS)))
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)$$(CC) $$(ALL_LDFLAGS) $$^ $$(LIBS) -lcriterion -o $$@
test-$(1): $(BUILD)/tests/test-$(1)
	$(Q)tools/run-tests.sh $$<
.PHONY: test-$(1)
endef
$(foreach room,$(TEST_ROOMS),$(eval $(call test_program,$(room))))

$(BUILD)/obj/tests/%.o: tests/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(TEST_CFLAGS) -MMD -MP -c $< -o $@

tests: $(TEST_PROGRAMS)

# The executor's: one Criterion program, and plain programs for several ranks
# (tests/exec/mpi/NAME.c), run once for every number of ranks.
EXEC_RANKS      := 2 4
EXEC_TEST       := $(BUILD)/tests/test-exec
EXEC_MPI_TESTS  := $(patsubst tests/exec/mpi/%.c,$(BUILD)/tests/exec-%,$(filter-out %_support.c,$(wildcard tests/exec/mpi/*.c)))
EXEC_TEST_FILES := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/exec/*.c tests/exec/mpi/*.c))
EXEC_TEST_BELOW := $(filter-out %/exec/main.o,$(EXEC_OBJECTS)) $(EXEC_BELOW)
# What tests start again and again is linked without CUDA, whose libraries take a processor
# 70 ms to load.
HOST_EXEC    := $(BUILD)/tests/host-exec
HOST_OBJECTS := $(filter-out $(BUILD)/obj/exec/cuda_%,$(EXEC_OBJECTS)) $(BUILD)/obj/exec/cuda_absent.o $(EXEC_BELOW)
HOST_LIBS     = $(filter-out $(CUDA_LIBS),$(EXEC_LIBS))
$(HOST_EXEC): $(HOST_OBJECTS)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) $^ $(HOST_LIBS) -o $@
EXEC_TESTS       = $(if $(EXEC),$(EXEC_TEST) $(foreach ranks,$(EXEC_RANKS),$(EXEC_MPI_TESTS:%=mpi:$(ranks):%)) $(foreach ranks,1 8,mpi:$(ranks):$(BUILD)/tests/exec-matrix) \
    $(foreach ranks,4 6,mpi:$(ranks):$(BUILD)/tests/exec-matrix$(comma)--draw$(comma)60$(comma)$(ranks)) \
    $(foreach name,comm failure matrix,tcp:4:$(BUILD)/tests/exec-$(name)))
$(EXEC_TEST_FILES): TEST_CFLAGS += $(EXEC_CFLAGS)
$(EXEC_TEST): $(filter $(BUILD)/obj/tests/exec/%,$(filter-out $(BUILD)/obj/tests/exec/mpi/%,$(EXEC_TEST_FILES))) \
    $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/support/*.c)) \
    $(filter-out %/exec/main.o,$(HOST_OBJECTS)) | $(EXEC) $(HOST_EXEC)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) $^ $(HOST_LIBS) -lcriterion -o $@
$(EXEC_MPI_TESTS): $(BUILD)/tests/exec-%: $(BUILD)/obj/tests/exec/mpi/%.o \
    $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/exec/mpi/*_support.c)) $(EXEC_TEST_BELOW)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) $^ $(EXEC_LIBS) -o $@

# The CUDA backend against the host backend, where there is a device; elsewhere it is
# built, and says that it is skipped.
GPU_CHECK := $(BUILD)/tests/gpu-check
GPU_CHECK_OBJECTS := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/exec/gpu/*.c))
$(GPU_CHECK_OBJECTS): TEST_CFLAGS += $(EXEC_CFLAGS)
$(GPU_CHECK): $(GPU_CHECK_OBJECTS) $(EXEC_TEST_BELOW)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) $^ $(EXEC_LIBS) -o $@
# The CUDA backend on a device that is this processor (tests/exec/emulated): its kernels
# thread by thread, its streams in any order that they allow, NCCL over MPI.
EMULATED        := tests/exec/emulated
EMULATED_CXX    := $(if $(EXEC),$(shell command -v $(CXX)))
EMULATED_OBJECTS := $(patsubst exec/%.cu,$(BUILD)/obj/emulated/%.o,$(filter-out exec/cuda_dnn_absent.cu,$(wildcard exec/*.cu))) \
    $(patsubst $(EMULATED)/%.cpp,$(BUILD)/obj/emulated/%.o,$(wildcard $(EMULATED)/*.cpp))
EMULATED_FLAGS   = -std=c++17 -iquote $(EMULATED) -iquote . -I$(EMULATED) -pthread -ffp-contract=off -Wall -Wextra \
    -Wno-unknown-pragmas -fno-strict-aliasing -DOMPI_SKIP_MPICXX -DMPICH_SKIP_MPICXX $(if $(DEV),-Werror) $(OPT_$(MODE)) $(EXEC_CFLAGS) $(CXXFLAGS)
EMULATED_BELOW   = $(filter-out $(BUILD)/obj/exec/cuda_% %/exec/main.o,$(EXEC_OBJECTS)) $(EMULATED_OBJECTS) $(EXEC_BELOW)
EMULATED_LINK    = $(CXX) $(ALL_LDFLAGS) $(filter %.o,$^) $(filter-out -lcudart -lcublasLt -lnccl -lcudnn -L$(CUDA)/lib64 -Wl$(comma)-rpath$(comma)$(CUDA)/lib64,$(EXEC_LIBS)) -o $@
$(BUILD)/obj/emulated/%.o: exec/%.cu $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CXX,$<)$(CXX) $(EMULATED_FLAGS) -MMD -MP -x c++ -c $< -o $@
$(BUILD)/obj/emulated/%.o: $(EMULATED)/%.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CXX,$<)$(CXX) $(EMULATED_FLAGS) -MMD -MP -c $< -o $@
EMULATED_CHECK := $(BUILD)/tests/emulated-check
$(EMULATED_CHECK): $(GPU_CHECK_OBJECTS) $(EMULATED_BELOW)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(EMULATED_LINK)
EMULATED_MATRIX := $(BUILD)/tests/emulated-matrix
$(EMULATED_MATRIX): $(patsubst %,$(BUILD)/obj/tests/exec/mpi/%.o,matrix matrix_support) $(EMULATED_BELOW)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(EMULATED_LINK)
# A part of the matrix: the fibers of the emulated device take seconds for a plan.
# A sanitizer sees each line of code once: collectives on 2 ranks, attention of an old cuDNN.
small_check    = $(EMULATED_CHECK)$(comma)--small$(if $(filter release,$(MODE)),,$(addprefix $(comma)--,$(1)))
EMULATED_TESTS = $(if $(filter release,$(MODE)),$(DNN_PLANS)) $(if $(EMULATED_CXX),mpi:1:$(call small_check) mpi:2:$(call small_check,collectives) \
    mpi:1:env$(comma)GALV_EMULATED_CUDNN=90501$(comma)$(call small_check,attention) \
    $(if $(filter release,$(MODE)),$(foreach words,waiting few$(comma)megatron tied$(comma)zero3,mpi:2:$(EMULATED_MATRIX)$(comma)--cuda$(comma)$(words))))
# Whether cuDNN has kernels for the graphs that it is given; it needs no device to say so.
DNN_PLANS := $(if $(and $(HAVE_CUDA),$(CUDNN_H),$(EMULATED_CXX)),$(BUILD)/tests/dnn-plans)
$(BUILD)/tests/dnn-plans: tests/exec/dnn/plans.cpp $(BUILD)/obj/exec/cuda_dnn_graph.o
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CXX) -std=c++17 -O1 -Wall -Wextra -I. $(CUDA_CFLAGS) -DSTUB_OF_DRIVER='"$(CUDA)/lib64/stubs/libcuda.so"' \
	    $^ $(CUDA_LIBS) -ldl -o $@
.PHONY: emulated-test
## make emulated-test  the CUDA backend on a device that is this processor
emulated-test: $(DNN_PLANS) $(if $(EMULATED_CXX),$(EMULATED_CHECK) $(EMULATED_MATRIX))
	$(Q)$(if $(EMULATED_CXX),tools/run-tests.sh $(EMULATED_TESTS),echo '  emulated-test skipped; missing: $(or $(EXEC_MISSING),a compiler of C++)')
EMULATED_EXEC := $(BUILD)/tests/emulated-exec
$(EMULATED_EXEC): $(BUILD)/obj/exec/main.o $(EMULATED_BELOW)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(EMULATED_LINK)
## make gpu-check   the CUDA backend on a device: checks, rates, profile, into OUT=gpu-check.out
OUT ?= gpu-check.out
HAVE_PLANNER := $(shell pkg-config --exists $(PKGS) && echo yes)
GPU_NEEDS := $(if $(HAVE_CUDA),$(GPU_CHECK) $(EXEC) $(BUILD)/tests/exec-matrix $(if $(HAVE_PLANNER),$(PROGRAM)))
NO_GPU_CHECK = $(EXEC_MISSING) $(if $(HAVE_CUDA),,nvcc or nccl.h (looked for in $(CUDA)))
gpu-check: $(if $(EXEC),$(GPU_NEEDS))
	$(Q)$(if $(HAVE_PLANNER),:,echo '  without galvatron-sim, so nothing is predicted; missing: some of $(PKGS)')
	$(Q)$(if $(and $(EXEC),$(HAVE_CUDA)),sh tests/exec/gpu/check.sh $(BUILD) $(OUT),echo '  gpu-check skipped; missing: $(strip $(NO_GPU_CHECK)). On a machine that has them `make gpu-bundle` packs it for one that has not')
## make gpu-bundle  gpu-check, packed for a machine with a device but without packages
.PHONY: gpu-bundle
gpu-bundle: $(if $(EXEC),$(GPU_NEEDS))
	$(Q)$(if $(and $(EXEC),$(HAVE_CUDA)),tools/gpu-bundle.sh $(BUILD),echo '  gpu-bundle is not made; missing: $(strip $(NO_GPU_CHECK))'; exit 1)
## make gpu-rehearsal  gpu-check on the emulated device: its steps, with a tiny model
.PHONY: gpu-rehearsal
gpu-rehearsal: $(if $(EMULATED_CXX),$(EMULATED_CHECK) $(EMULATED_MATRIX) $(EMULATED_EXEC) $(PROGRAM))
	$(Q)rm -rf $(BUILD)/rehearsal; mkdir -p $(BUILD)/rehearsal/tests
	$(Q)ln -s ../tests/emulated-exec $(BUILD)/rehearsal/galvatron-exec; ln -s ../galvatron-sim $(BUILD)/rehearsal/galvatron-sim
	$(Q)ln -s ../../tests/emulated-check $(BUILD)/rehearsal/tests/gpu-check; ln -s ../../tests/emulated-matrix $(BUILD)/rehearsal/tests/exec-matrix
	$(Q)GALV_CHECK_MODEL=tests/exec/gpu/tiny.json GALV_CHECK_WORDS=--small GALV_CHECK_PLANS=few sh tests/exec/gpu/check.sh $(BUILD)/rehearsal $(BUILD)/rehearsal/out

## make exec-test   the executor's tests, on 1 to 8 ranks
exec-test test-exec: $(if $(EXEC),$(EXEC) $(EXEC_TEST) $(EXEC_MPI_TESTS))
	$(Q)$(if $(EXEC),tools/run-tests.sh $(EXEC_TESTS),echo '  tests of galvatron-exec skipped; missing: $(EXEC_MISSING)')

LONG_TESTS := $(filter %-search %-sim,$(TEST_PROGRAMS))
## make test        build and run every test (release build)
test: $(TEST_PROGRAMS) $(PROGRAM) $(LIBRARY) $(SHARED) $(if $(EXEC),$(EXEC) $(EXEC_TEST) $(EXEC_MPI_TESTS) $(if $(HAVE_CUDA),$(GPU_CHECK)) $(DNN_PLANS) $(if $(EMULATED_CXX),$(EMULATED_CHECK) $(EMULATED_MATRIX)))
	$(Q)$(if $(EXEC),:,echo '  tests of galvatron-exec skipped; missing: $(EXEC_MISSING)')
	$(Q)tools/run-tests.sh --program $(PROGRAM) $(EXEC_TESTS) $(EMULATED_TESTS) $(LONG_TESTS) tests/cli $(filter-out $(LONG_TESTS),$(TEST_PROGRAMS))

# Without what nvcc compiles: it is never run there; the emulated device runs its sources.
## make asan-test   the same under the address and undefined-behaviour sanitizers
asan-test:
	$(Q)$(MAKE) --no-print-directory MODE=asan CUDA=no test

# Criterion cannot run under the thread sanitizer, so these are plain programs.
THREAD_TESTS := $(patsubst tests/threads/%.c,$(BUILD)/tests/threads-%,$(wildcard tests/threads/*.c))
$(BUILD)/tests/threads-%: $(BUILD)/obj/tests/threads/%.o $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) -o $@
thread-tests: $(THREAD_TESTS)
	$(Q)for program in $^; do $$program || exit 1; echo "  $$(basename $$program) passed"; done

## make test-install  install into a folder of its own and build docs/library.md's program
test-install:
	$(Q)+tools/test-install.sh BUILD=$(BUILD)

## make tsan-test   what runs in threads, under the thread sanitizer
tsan-test:
	$(Q)$(MAKE) --no-print-directory MODE=tsan thread-tests

# ---- fuzzing (clang with libFuzzer: packages clang, libfuzzer-14-dev) ----
FUZZ_SECONDS ?= 30
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/*_fuzz.c))
$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer $^ $(LIBS) -o $@
fuzz-run: $(FUZZERS)
	$(Q)set -e; for fuzzer in $^; do echo "  FUZZ     $$fuzzer"; mkdir -p $$fuzzer-corpus; \
	    $$fuzzer -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=3000 -verbosity=0 \
	        -artifact_prefix=$$fuzzer- $$fuzzer-corpus $(wildcard tests/fuzz/seeds); done
## make fuzz        every parser for FUZZ_SECONDS (default 30) with libFuzzer
fuzz:
	$(Q)+$(MAKE) --no-print-directory MODE=fuzz CC=clang fuzz-run

# ---- benchmarks ----
BENCHMARKS := $(patsubst benchmarks/%.c,$(BUILD)/benchmarks/%,$(wildcard benchmarks/*_bench.c))
$(BUILD)/benchmarks/%: $(BUILD)/obj/benchmarks/%.o $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) -o $@
$(BUILD)/benchmarks/kernel_bench: $(patsubst %,$(BUILD)/obj/benchmarks/kernel_%.o,tables errors)
$(BUILD)/benchmarks/fit_gemm $(BUILD)/benchmarks/fit_choices: $(BUILD)/obj/benchmarks/products.o
COMPARE := $(BUILD)/benchmarks/compare-galvatron
$(COMPARE): $(BUILD)/obj/benchmarks/compare_galvatron.o $(BUILD)/obj/benchmarks/galvatron_run.o $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) -o $@
.PHONY: compare-galvatron
## make compare-galvatron  the program behind benchmarks/compare-galvatron RUNS_DIR
compare-galvatron: $(COMPARE)
## make bench       run the benchmarks: work done, rate, peak memory, machine
bench: $(BENCHMARKS) $(PROGRAM)
	$(Q)for program in $(BENCHMARKS); do $$program || exit 1; done
	$(Q)for script in $(filter-out benchmarks/accuracy.sh,$(wildcard benchmarks/*.sh)); do sh $$script $(PROGRAM) || exit 1; done

# ---- checks of the source ----
C_FILES := $(wildcard $(ALL_ROOMS:%=%/*.[ch]) exec/*.[ch] exec/*.cu exec/*.cuh tests/*/*.[ch] tests/exec/mpi/*.[ch] tests/exec/gpu/*.[ch] tests/exec/emulated/*.h tests/exec/emulated/*.cpp tests/exec/emulated/exec/* tests/exec/dnn/*.cpp benchmarks/*.[ch] galvatron.h)
## make lint        include direction, house rules, formatting
lint:
	$(Q)tools/check-includes.sh
	$(Q)clang-format --dry-run -Werror $(C_FILES)
	$(Q)shellcheck tools/*.sh tests/exec/gpu/*.sh .ci/run
## make fmt         format the sources in place
fmt:
	$(Q)clang-format -i $(C_FILES)

## make cov         line coverage of the tests (gcovr)
cov:
	$(Q)$(MAKE) --no-print-directory MODE=cov test
	gcovr --root . --exclude tests --exclude build --print-summary build/cov

# ---- documents, installation ----
COMMANDS := plan sweep simulate explain compare render validate calibrate import export catalog
MAN_PAGES := $(BUILD)/man/galvatron-sim.1 $(COMMANDS:%=$(BUILD)/man/galvatron-sim-%.1)
## make docs        put the program's output back into README.md, and its picture
docs: $(PROGRAM)
	$(Q)tools/update-docs.sh $(PROGRAM)
	$(Q)mkdir -p docs/images
	$(Q)$(PROGRAM) --nodes 64 -q -o docs/images/timeline.png >/dev/null
docs-check: $(PROGRAM)
	$(Q)tools/update-docs.sh $(PROGRAM) --check

## make man         the manual pages, from the option table, into build/man
man: $(MAN_PAGES)
$(BUILD)/man/galvatron-sim.1: $(PROGRAM)
	@mkdir -p $(@D)
	$(Q)$(PROGRAM) help --man > $@
$(BUILD)/man/galvatron-sim-%.1: $(PROGRAM)
	@mkdir -p $(@D)
	$(Q)$(PROGRAM) help --man $* > $@
COMPLETIONS := $(BUILD)/completions/galvatron-sim.bash $(BUILD)/completions/galvatron-sim.zsh \
    $(BUILD)/completions/galvatron-sim.fish
$(BUILD)/completions/galvatron-sim.%: $(PROGRAM)
	@mkdir -p $(@D)
	$(Q)$(PROGRAM) completion $* > $@

$(BUILD)/galvatron.pc: tools/galvatron.pc.in $(BUILD)/flags Makefile
	$(Q)sed -e 's|@prefix@|$(PREFIX)|' -e 's|@libdir@|$(libdir)|' -e 's|@includedir@|$(includedir)|' \
	    -e 's|@version@|$(VERSION)|' $< > $@

INSTALL ?= install
## make install     into PREFIX (default /usr/local), below DESTDIR when set
install: all lib man $(COMPLETIONS) $(BUILD)/galvatron.pc
	$(INSTALL) -d $(DESTDIR)$(bindir) $(DESTDIR)$(libdir)/pkgconfig $(DESTDIR)$(mandir)/man1 \
	    $(DESTDIR)$(datadir)/bash-completion/completions $(DESTDIR)$(datadir)/zsh/site-functions \
	    $(DESTDIR)$(datadir)/fish/vendor_completions.d
	$(INSTALL) -m 755 $(PROGRAM) $(DESTDIR)$(bindir)/
	$(INSTALL) -m 644 $(LIBRARY) $(DESTDIR)$(libdir)/
	$(INSTALL) -m 755 $(SHARED) $(DESTDIR)$(libdir)/
	ln -sf $(notdir $(SHARED)) $(DESTDIR)$(libdir)/libgalvatron.so
	if [ -e $(BUILD)/galvatron-exec ]; then $(INSTALL) -m 755 $(BUILD)/galvatron-exec $(DESTDIR)$(bindir)/; fi
	$(INSTALL) -m 644 $(BUILD)/galvatron.pc $(DESTDIR)$(libdir)/pkgconfig/
	for header in galvatron.h $(HEADERS); do \
	    $(INSTALL) -D -m 644 $$header $(DESTDIR)$(includedir)/galvatron/$$header || exit 1; done
	$(INSTALL) -m 644 $(MAN_PAGES) $(DESTDIR)$(mandir)/man1/
	$(INSTALL) -m 644 $(BUILD)/completions/galvatron-sim.bash \
	    $(DESTDIR)$(datadir)/bash-completion/completions/galvatron-sim
	$(INSTALL) -m 644 $(BUILD)/completions/galvatron-sim.zsh \
	    $(DESTDIR)$(datadir)/zsh/site-functions/_galvatron-sim
	$(INSTALL) -m 644 $(BUILD)/completions/galvatron-sim.fish \
	    $(DESTDIR)$(datadir)/fish/vendor_completions.d/

## make uninstall   remove what install put there
uninstall:
	rm -f $(DESTDIR)$(bindir)/galvatron-sim $(DESTDIR)$(bindir)/galvatron-exec $(DESTDIR)$(libdir)/libgalvatron.a \
	    $(DESTDIR)$(libdir)/libgalvatron.so $(DESTDIR)$(libdir)/$(notdir $(SHARED)) \
	    $(DESTDIR)$(libdir)/pkgconfig/galvatron.pc \
	    $(DESTDIR)$(mandir)/man1/galvatron-sim.1 $(COMMANDS:%=$(DESTDIR)$(mandir)/man1/galvatron-sim-%.1) \
	    $(DESTDIR)$(datadir)/bash-completion/completions/galvatron-sim \
	    $(DESTDIR)$(datadir)/zsh/site-functions/_galvatron-sim \
	    $(DESTDIR)$(datadir)/fish/vendor_completions.d/galvatron-sim.fish
	rm -rf $(DESTDIR)$(includedir)/galvatron

## make dist        a source archive of the last commit, in build/
dist:
	git archive --prefix=galvatron-sim-$(VERSION)/ -o $(BUILD)/galvatron-sim-$(VERSION).tar.gz HEAD

## make deps        install the Debian packages that the build and the tests need
deps:
	tools/install-deps.sh

help:
	@echo 'make             build/galvatron-sim'
	@echo 'make lib         build/libgalvatron.a and .so'
	@sed -n 's/^## //p' Makefile
	@echo 'Variables: DEV=1 (warnings are errors), V=1 (show commands), BUILD, PREFIX, DESTDIR, CFLAGS'

## make clean       remove build/
clean:
	rm -rf build

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
