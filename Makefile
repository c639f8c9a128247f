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
ROOMS     := base plan traces costmodel schedule sim search viz
ALL_ROOMS := $(ROOMS) cli

PKGS := gsl cairo jansson yaml-0.1
ifeq ($(filter clean help distclean,$(MAKECMDGOALS)),)
ifneq ($(shell pkg-config --exists $(PKGS) && echo yes),yes)
$(error libraries are missing: run `make deps` first, or see README.md (needed: $(PKGS), libcsv))
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
OPT_cov     := -O0 -g --coverage -fprofile-update=atomic

BASE_CFLAGS := -std=c11 -D_POSIX_C_SOURCE=200809L -DGALV_VERSION=\"$(VERSION)\" -I. \
    -ffp-contract=off -fPIC -pthread $(WARNINGS) $(OPT_$(MODE)) $(shell pkg-config --cflags $(PKGS))
ALL_CFLAGS   = $(BASE_CFLAGS) $(CPPFLAGS) $(CFLAGS)
LIBS        := $(shell pkg-config --libs $(PKGS)) -lcsv -lm -pthread
ALL_LDFLAGS  = $(OPT_$(MODE)) $(LDFLAGS)

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-8s %s\n' '$(1)' '$(2)';)

# ---- sources ----
# Data files compiled in: ROOM/DIR/NAME.EXT becomes the symbol galv_data_NAME_EXT.
DATA := $(wildcard plan/catalog/*.json plan/catalog/*.csv costmodel/data/*.csv costmodel/data/*.json)
DATA_OBJECTS := $(DATA:%=$(BUILD)/data/%.o)
room_sources = $(wildcard $(1)/*.c)
room_objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(call room_sources,$(1)))
LIB_OBJECTS := $(foreach room,$(ROOMS),$(call room_objects,$(room))) $(DATA_OBJECTS)
CLI_OBJECTS := $(call room_objects,cli)
HEADERS     := $(filter-out %_internal.h,$(foreach room,$(ROOMS),$(wildcard $(room)/*.h)))

LIBRARY := $(BUILD)/libgalvatron.a
SHARED  := $(BUILD)/libgalvatron.so.0
PROGRAM := $(BUILD)/galvatron-sim

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all lib deps test tests check lint fmt asan asan-test tsan tsan-test fuzz cov bench docs man \
    install uninstall dist clean help exec gpu-check demo

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

# ---- tests ----
# tests/ROOM/*.c becomes one Criterion program per room, linked with the rooms up to it:
# `make test-plan` tests one room. tests/cli/*.t are golden command tests.
TEST_ROOMS    := $(foreach room,$(ALL_ROOMS),$(if $(wildcard tests/$(room)/*.c),$(room)))
TEST_PROGRAMS := $(TEST_ROOMS:%=$(BUILD)/tests/test-%)
TEST_CFLAGS    = $(filter-out -Wconversion -Wpedantic,$(ALL_CFLAGS)) -DGALV_SOURCE_DIR=\"$(CURDIR)\"
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

test: $(TEST_PROGRAMS) $(PROGRAM) $(LIBRARY) $(SHARED)
	$(Q)tools/run-tests.sh --program $(PROGRAM) $(TEST_PROGRAMS) tests/cli

asan:
	$(Q)$(MAKE) --no-print-directory MODE=asan all
asan-test:
	$(Q)$(MAKE) --no-print-directory MODE=asan test

help:
	@sed -n 's/^## //p' Makefile

clean:
	rm -rf build

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
