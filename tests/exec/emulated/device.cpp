/* Grids of fibers: threads of a block that run until they meet. */
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#include <pthread.h>
#include <sanitizer/common_interface_defs.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim(0), gridDim(0);

enum { STACK_BYTES = 256 << 10, MOST_THREADS = 1024, MOST_SHARED_BYTES = 227 << 10 };

void emulated_complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "emulated device: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    abort();
}

unsigned emulated_draw(unsigned below)
{
    static uint64_t state;
    if (state == 0) {
        const char *seed = getenv("GALV_EMULATED_SEED");
        state = seed != nullptr ? strtoull(seed, nullptr, 10) * 2 + 1 : 3;
    }
    state = state * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)(state >> 33) % below;
}

/* ---- changing from one stack to another ---- */

/* swapcontext asks the kernel for the signal mask at every change, which is most of the
 * time of a test; so on x86-64 registers are kept by hand. */
typedef struct place {
#if defined(__x86_64__)
    void *stack_pointer;
#else
    ucontext_t context;
#endif
} place;

#if defined(__x86_64__)
extern "C" void emulated_change(place *from, const place *to);
asm(".text\n"
    ".globl emulated_change\n"
    ".type emulated_change, @function\n"
    "emulated_change:\n"
    "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n"
    "    pushq %r13\n    pushq %r14\n    pushq %r15\n"
    "    movq %rsp, (%rdi)\n"
    "    movq (%rsi), %rsp\n"
    "    popq %r15\n    popq %r14\n    popq %r13\n"
    "    popq %r12\n    popq %rbx\n    popq %rbp\n"
    "    ret\n"
    ".size emulated_change, .-emulated_change\n");
#else
static void emulated_change(place *from, const place *to)
{
    swapcontext(&from->context, &to->context);
}
#endif

typedef struct fiber {
    place at;
    char *stack;
    size_t stack_bytes;
    unsigned thread; /* that it runs */
    uint3 index;     /* of that thread */
    void *fake_stack;
} fiber;

typedef struct warp {
    emulated_slot slots[2][EMULATED_WARP]; /* of this meeting and the one before */
    int turn;
    unsigned n_here;
    emulated_meeting meeting;
    void (*together)(emulated_slot *all);
    fiber *waiting[EMULATED_WARP];
} warp;

/* The block that runs. */
static struct {
    const std::function<void()> *thread;
    unsigned n_threads, n_begun, n_ended;
    unsigned first;             /* thread that begins first: the lot */
    bool backwards;             /* threads begin from the last to the first */
    bool ahead;                 /* who came last goes on first */
    fiber *ready[MOST_THREADS]; /* a ring */
    unsigned first_ready, n_ready;
    fiber *idle[MOST_THREADS];
    unsigned n_idle;
    fiber *now;
    fiber outside; /* the program's own stack */
    warp warps[MOST_THREADS / EMULATED_WARP];
    /* the meeting of the block */
    fiber *waiting[MOST_THREADS];
    unsigned n_here;
    int sums[2], turn;
    void *shared;
} block;

/* Goes on with another fiber; comes back when another goes on with this one. */
static void go_to(fiber *from, fiber *to)
{
    if (from == to) {
        return;
    }
    block.now = to;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->stack_bytes);
    emulated_change(&from->at, &to->at);
    __sanitizer_finish_switch_fiber(from->fake_stack, nullptr, nullptr);
#else
    emulated_change(&from->at, &to->at);
#endif
    threadIdx = from->index;
}

static void set_thread(fiber *f)
{
    /* the next thread that has not begun; there is one */
    unsigned n = block.n_begun++;
    unsigned thread = (block.first + n) % block.n_threads;
    thread = block.backwards ? block.n_threads - 1 - thread : thread;
    f->thread = thread;
    f->index.x = thread % blockDim.x;
    f->index.y = thread / blockDim.x % blockDim.y;
    f->index.z = thread / blockDim.x / blockDim.y;
}

static void run_threads();

static fiber *new_fiber()
{
    fiber *f = new fiber();
    f->stack = (char *)aligned_alloc(4096, STACK_BYTES);
    f->stack_bytes = STACK_BYTES;
    if (f->stack == nullptr) {
        emulated_complain("out of memory for the stack of a thread");
    }
#if defined(__x86_64__)
    /* as if emulated_change had been called from run_threads' first line */
    void **top = (void **)(f->stack + STACK_BYTES) - 2;
    *top = (void *)run_threads;
    f->at.stack_pointer = top - 6;
    memset(f->at.stack_pointer, 0, 6 * sizeof *top);
#else
    getcontext(&f->at.context);
    f->at.context.uc_stack.ss_sp = f->stack;
    f->at.context.uc_stack.ss_size = STACK_BYTES;
    f->at.context.uc_link = nullptr;
    makecontext(&f->at.context, run_threads, 0);
#endif
    return f;
}

/* Who goes on: who may after a meeting, else a thread that has not begun, else the
 * program, which looks whether all have ended. */
static fiber *choose(void)
{
    if (block.n_ready > 0) {
        block.n_ready--;
        if (block.ahead) {
            return block.ready[(block.first_ready + block.n_ready) % MOST_THREADS];
        }
        fiber *f = block.ready[block.first_ready];
        block.first_ready = (block.first_ready + 1) % MOST_THREADS;
        return f;
    }
    if (block.n_begun < block.n_threads) {
        fiber *f = block.n_idle > 0 ? block.idle[--block.n_idle] : new_fiber();
        set_thread(f);
        return f;
    }
    return &block.outside;
}

/* The sanitizer wants to know where the program's own stack lies. */
static void find_own_stack()
{
#if defined(__SANITIZE_ADDRESS__)
    pthread_attr_t attributes;
    void *begin = nullptr;
    if (block.outside.stack == nullptr &&
        pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &begin, &block.outside.stack_bytes);
        pthread_attr_destroy(&attributes);
        block.outside.stack = (char *)begin;
    }
#endif
}

static void run_threads()
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
    for (fiber *f = block.now;;) {
        threadIdx = f->index;
        (*block.thread)();
        block.n_ended++;
        if (block.n_ready == 0 && block.n_begun < block.n_threads) {
            set_thread(f);
        } else {
            block.idle[block.n_idle++] = f;
            go_to(f, choose());
        }
    }
}

/* ---- meetings ---- */

/* These fibers may go on, in an order by lot. */
static void set_ready(fiber **fibers, unsigned n)
{
    unsigned first = emulated_draw(n);
    bool backwards = emulated_draw(2) != 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned at = (first + i) % n;
        block.ready[(block.first_ready + block.n_ready++) % MOST_THREADS] =
            fibers[backwards ? n - 1 - at : at];
    }
}

int emulated_block_meet(int brought)
{
    fiber *me = block.now;
    int turn = block.turn;
    if (block.n_here == 0) {
        block.sums[turn] = 0;
    }
    block.sums[turn] += brought;
    block.waiting[block.n_here++] = me;
    if (block.n_here == block.n_threads) {
        block.n_here = 0;
        block.turn = 1 - turn;
        set_ready(block.waiting, block.n_threads);
    }
    go_to(me, choose());
    return block.sums[turn];
}

emulated_slot *emulated_warp_meet(emulated_meeting meeting, const void *brought,
                                  size_t bytes, void (*together)(emulated_slot *all))
{
    fiber *me = block.now;
    warp *w = &block.warps[me->thread / EMULATED_WARP];
    int turn = w->turn;
    if (w->n_here == 0) {
        w->meeting = meeting;
        w->together = together;
    } else if (w->meeting != meeting || w->together != together) {
        emulated_complain("lanes of a warp meet in different places (%d and %d)",
                          (int)w->meeting, (int)meeting);
    }
    if (bytes > 0) {
        memcpy(w->slots[turn][me->thread % EMULATED_WARP].bytes, brought, bytes);
    }
    w->waiting[w->n_here++] = me;
    if (w->n_here == EMULATED_WARP) {
        if (together != nullptr) {
            together(w->slots[turn]);
        }
        w->n_here = 0;
        w->turn = 1 - turn;
        set_ready(w->waiting, EMULATED_WARP);
    }
    go_to(me, choose());
    return w->slots[turn];
}

unsigned emulated_lane(void)
{
    return block.now->thread % EMULATED_WARP;
}

void *emulated_shared(void)
{
    return block.shared;
}

/* ---- tensor cores ---- */

static float half_of(uint32_t pair, int which)
{
    uint32_t bits = which == 0 ? pair << 16 : pair & 0xffff0000U;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Each slot: a[4], b[2], c[4]. PTX ISA, m16n8k16 with bf16: element i of a's eight lies
 * in row g (i in 0, 1, 4, 5) or g + 8, column 2t + i % 2, from 8 on for i >= 4; element
 * i of b's four in row 2t + i % 2, from 8 on for i >= 2, column g; element i of c's
 * four in row g or, for i >= 2, g + 8, column 2t + i % 2. */
void emulated_multiply(emulated_slot *all)
{
    float a[16][16];
    float b[16][8];
    for (int lane = 0; lane < EMULATED_WARP; lane++) {
        int g = lane / 4;
        int t = lane % 4;
        uint32_t pairs[6];
        memcpy(pairs, all[lane].bytes, sizeof pairs);
        for (int i = 0; i < 8; i++) {
            int row = i < 2 || (i >= 4 && i < 6) ? g : g + 8;
            a[row][t * 2 + i % 2 + (i < 4 ? 0 : 8)] = half_of(pairs[i / 2], i % 2);
        }
        for (int i = 0; i < 4; i++) {
            b[t * 2 + i % 2 + (i < 2 ? 0 : 8)][g] = half_of(pairs[4 + i / 2], i % 2);
        }
    }
    for (int lane = 0; lane < EMULATED_WARP; lane++) {
        float c[4];
        memcpy(c, all[lane].bytes + 24, sizeof c);
        for (int i = 0; i < 4; i++) {
            int row = lane / 4 + (i < 2 ? 0 : 8);
            int col = lane % 4 * 2 + i % 2;
            float sum = 0;
            for (int k = 0; k < 16; k++) {
                sum += a[row][k] * b[k][col];
            }
            c[i] += sum;
        }
        memcpy(all[lane].bytes + 24, c, sizeof c);
    }
}

/* Each slot: the address of a row; behind it come the two registers. PTX ISA, ldmatrix
 * with .x2.trans: without .trans lane l gets of matrix m the pair of row l / 4 and
 * columns 2 (l % 4) and the next; with it rows and columns change places. */
void emulated_load_transposed(emulated_slot *all)
{
    uint16_t matrices[2][8][8];
    for (int i = 0; i < 16; i++) {
        const void *row;
        memcpy(&row, all[i].bytes, sizeof row);
        uintptr_t place = (uintptr_t)row;
        uintptr_t begin = (uintptr_t)block.shared;
        if (place % 16 != 0) {
            emulated_complain("a row of ldmatrix is not aligned to 16 bytes");
        }
        if (place < begin || place >= begin + MOST_SHARED_BYTES) {
            emulated_complain("a row of ldmatrix is not in shared memory");
        }
        memcpy(matrices[i / 8][i % 8], row, 16);
    }
    for (int lane = 0; lane < EMULATED_WARP; lane++) {
        for (int m = 0; m < 2; m++) {
            uint32_t low = matrices[m][lane % 4 * 2][lane / 4];
            uint32_t high = matrices[m][lane % 4 * 2 + 1][lane / 4];
            uint32_t pair = low | high << 16;
            memcpy(all[lane].bytes + 8 + 4 * m, &pair, 4);
        }
    }
}

/* ---- grids ---- */

static void run_block()
{
    block.n_begun = block.n_ended = 0;
    block.first = emulated_draw(block.n_threads);
    block.backwards = emulated_draw(2) != 0;
    block.ahead = emulated_draw(2) != 0;
    go_to(&block.outside, choose());
    if (block.n_ended < block.n_threads) {
        emulated_complain(
            "%u threads of a block of %u have ended while others wait for "
            "them at a barrier",
            block.n_ended, block.n_threads);
    }
    for (unsigned w = 0; w < (block.n_threads + EMULATED_WARP - 1) / EMULATED_WARP;
         w++) {
        if (block.warps[w].n_here != 0) {
            emulated_complain("a warp has ended while lanes wait for each other");
        }
    }
    if (block.n_here != 0) {
        emulated_complain("a block has ended while threads wait for each other");
    }
}

void emulated_run_grid(dim3 grid, dim3 threads, size_t shared_bytes,
                       const std::function<void()> &thread)
{
    find_own_stack();
    block.thread = &thread;
    block.n_threads = threads.x * threads.y * threads.z;
    gridDim = grid;
    blockDim = threads;
    size_t n_blocks = (size_t)grid.x * grid.y * grid.z;
    size_t first = emulated_draw((unsigned)(n_blocks < 1U << 30 ? n_blocks : 1U << 30));
    for (size_t i = 0; i < n_blocks; i++) {
        size_t which = (first + i) % n_blocks;
        blockIdx.x = (unsigned)(which % grid.x);
        blockIdx.y = (unsigned)(which / grid.x % grid.y);
        blockIdx.z = (unsigned)(which / grid.x / grid.y);
        if (shared_bytes > 0) {
            /* of its own size, so that the sanitizers see who goes beyond it */
            block.shared = malloc(shared_bytes);
            memset(block.shared, 0xff, shared_bytes);
        }
        run_block();
        free(block.shared);
        block.shared = nullptr;
    }
}
