/* Orders of one's own, checked and as JSON.
 *
 * An order is checked in one pass over its entries, each against what its chunk and
 * micro-batch have had so far, so that a complaint can name the entry; what was left
 * out is seen at the end. Two stages can still wait for each other: that shows only
 * when messages are known, in a program (schedule/program.h).
 *
 * Left out: slots in which a stage waits (an order says what comes next, not when). */
#include "plan/order.h"

#include <stdio.h>
#include <string.h>

const char *const galv_pass_letters[GALV_PASS_NONE] = {"F", "B", "I", "W"};

/* What a micro-batch has had on a chunk. */
enum { HAD_F = 1, HAD_B = 2, HAD_I = 4, HAD_W = 8 };

static int32_t n_lanes(const galv_order *order)
{
    return order->two_way ? 2 : order->n_chunks;
}

void galv_order_count(int32_t *n_stages, int32_t *n_chunks,
                      const galv_order_entry *entries, size_t n)
{
    *n_stages = *n_chunks = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t stage = entries[i].stage;
        int32_t chunk = entries[i].slot.chunk;
        *n_stages = stage >= *n_stages ? stage + 1 : *n_stages;
        *n_chunks = chunk >= *n_chunks ? chunk + 1 : *n_chunks;
    }
}

int32_t galv_order_virtual_stage(const galv_order *order, int32_t stage, int32_t chunk)
{
    return order->virtual_stages[stage * n_lanes(order) + chunk];
}

const char *galv_order_schedule(const galv_order *order)
{
    return order->two_way           ? "custom-two-way"
           : order->pairs           ? "custom-paired"
           : order->splits_backward ? "custom-split"
                                    : "custom";
}

/* ---- checks ---- */

static galv_status check_ranges(const galv_order_entry *entries, size_t n, size_t *at,
                                galv_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const galv_order_entry *e = &entries[i];
        *at = i;
        if (e->stage < 0 || e->stage >= GALV_MOST_ORDER_STAGES || e->slot.chunk < 0 ||
            e->slot.chunk >= GALV_MOST_ORDER_CHUNKS || e->slot.micro_batch < 0 ||
            e->slot.micro_batch >= GALV_MOST_ORDER_MICRO_BATCHES ||
            e->slot.pass >= GALV_PASS_NONE) {
            return galv_fail(
                err, GALV_INPUT, "stage %d, chunk %d, micro-batch %d cannot be",
                (int)e->stage, (int)e->slot.chunk, (int)e->slot.micro_batch);
        }
    }
    *at = SIZE_MAX;
    return n > 0 ? GALV_OK : galv_fail(err, GALV_INPUT, "an order without slots");
}

/* Where the chunks lie: a permutation of the virtual stages, or two-way. */
static galv_status place_chunks(galv_order *order, const int32_t *virtual_stages,
                                galv_arena *arena, galv_err *err)
{
    int32_t p = order->n_stages;
    int32_t v = order->n_chunks;
    size_t n = (size_t)p * (size_t)v;
    bool *taken = GALV_NEW_ARRAY(arena, bool, n);
    order->virtual_stages = GALV_NEW_ARRAY(arena, int32_t, n);
    if (taken == NULL || order->virtual_stages == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %zu chunks", n);
    }
    bool two_way = virtual_stages != NULL && v == 2 && p > 1;
    for (int32_t i = 0; i < p * v; i++) {
        int32_t stage = i / v;
        int32_t looped = i % v * p + stage;
        order->virtual_stages[i] = virtual_stages == NULL ? looped : virtual_stages[i];
        two_way =
            two_way && order->virtual_stages[i] == (i % v == 0 ? stage : p - 1 - stage);
    }
    order->two_way = two_way;
    for (int32_t i = 0; i < p * v && !two_way; i++) {
        int32_t s = order->virtual_stages[i];
        if (s < 0 || s >= p * v || taken[s]) {
            return galv_fail(err, GALV_INPUT,
                             "virtual stage %d of stage %d, chunk %d, %s", (int)s,
                             (int)(i / v), (int)(i % v),
                             s < 0        ? "is not given"
                             : s >= p * v ? "is more than there are chunks"
                                          : "is there twice");
        }
        taken[s] = true;
    }
    order->n_chunks = two_way ? 1 : v;
    return GALV_OK;
}

static galv_status blame(const galv_order_entry *e, galv_err *err, const char *what)
{
    return galv_fail(err, GALV_INPUT, "%s of micro-batch %d on stage %d, chunk %d, %s",
                     galv_pass_letters[e->slot.pass], (int)e->slot.micro_batch,
                     (int)e->stage, (int)e->slot.chunk, what);
}

/* Takes one entry into account. */
static galv_status add_entry(uint8_t *had, const galv_order_entry *e, galv_err *err)
{
    static const uint8_t bits[GALV_PASS_NONE] = {HAD_F, HAD_B, HAD_I, HAD_W};
    int pass = e->slot.pass;
    if (*had & bits[pass]) {
        return blame(e, err, "is there twice");
    }
    if (pass != GALV_PASS_FORWARD && !(*had & HAD_F)) {
        return blame(e, err, "comes before its forward");
    }
    if ((pass == GALV_PASS_BACKWARD && (*had & (HAD_I | HAD_W))) ||
        (pass > GALV_PASS_BACKWARD && (*had & HAD_B))) {
        return blame(e, err, "is there, and the backward in another form too");
    }
    if (pass == GALV_PASS_BACKWARD_WEIGHT && !(*had & HAD_I)) {
        return blame(e, err, "comes before its I");
    }
    *had |= bits[pass];
    return GALV_OK;
}

/* The entry before on the same stage was paired with this one. */
static galv_status check_pair(const galv_slot *forward, const galv_order_entry *e,
                              galv_err *err)
{
    if (forward->pass != GALV_PASS_FORWARD || e->slot.paired ||
        (e->slot.pass != GALV_PASS_BACKWARD &&
         e->slot.pass != GALV_PASS_BACKWARD_INPUT)) {
        return blame(e, err, "cannot be the second of a pair: that is F, then B or I");
    }
    if (forward->micro_batch == e->slot.micro_batch &&
        forward->chunk == e->slot.chunk) {
        return blame(e, err, "cannot run beside its own forward");
    }
    return GALV_OK;
}

static galv_status check_complete(const galv_order *order, const uint8_t *had,
                                  galv_err *err)
{
    int32_t lanes = n_lanes(order);
    int32_t m = order->n_micro_batches;
    for (int32_t i = 0; i < order->n_stages * lanes; i++) {
        for (int32_t b = 0; b < m; b++) {
            uint8_t has = had[(size_t)i * (size_t)m + (size_t)b];
            bool wanted = !order->two_way || (b >= m / 2) == (i % lanes == 1);
            const char *what = !wanted && has != 0 ? "goes the other way: the first "
                                                     "half enters at stage 0"
                               : !wanted           ? NULL
                               : !(has & HAD_F)    ? "has no F"
                               : has & HAD_B       ? NULL
                               : !(has & HAD_I)    ? "has no B, and no I"
                               : !(has & HAD_W)    ? "has no W"
                                                   : NULL;
            if (what != NULL) {
                return galv_fail(err, GALV_INPUT,
                                 "micro-batch %d on stage %d, chunk %d, %s", (int)b,
                                 (int)(i / lanes), (int)(i % lanes), what);
            }
        }
    }
    return GALV_OK;
}

/* Puts the entries in their places; `had` and `n_of` are zero. */
static galv_status place_slots(galv_order *order, const galv_order_entry *entries,
                               size_t n, uint8_t *had, size_t *n_of, size_t *at,
                               galv_err *err)
{
    size_t lanes = (size_t)n_lanes(order);
    for (size_t i = 0; i < n; i++) {
        const galv_order_entry *e = &entries[i];
        size_t cell = ((size_t)e->stage * lanes + (size_t)e->slot.chunk) *
                          (size_t)order->n_micro_batches +
                      (size_t)e->slot.micro_batch;
        galv_slot *stage = &order->slots[(size_t)e->stage * order->n_slots];
        size_t k = n_of[e->stage];
        *at = i;
        galv_status status = add_entry(&had[cell], e, err);
        if (status == GALV_OK && k >= order->n_slots) {
            return blame(e, err, "is one more than the others leave room for");
        }
        if (status == GALV_OK && k > 0 && stage[k - 1].paired) {
            status = check_pair(&stage[k - 1], e, err);
        }
        if (status != GALV_OK) {
            return status;
        }
        stage[k] = e->slot;
        n_of[e->stage]++;
    }
    *at = SIZE_MAX;
    for (int32_t stage = 0; stage < order->n_stages; stage++) {
        galv_slot *slots = &order->slots[(size_t)stage * order->n_slots];
        if (n_of[stage] > 0 && slots[n_of[stage] - 1].paired) {
            return galv_fail(err, GALV_INPUT,
                             "the last slot of stage %d has none to run beside",
                             (int)stage);
        }
        for (size_t k = n_of[stage]; k < order->n_slots; k++) {
            slots[k].pass = GALV_PASS_NONE;
        }
    }
    return check_complete(order, had, err);
}

galv_status galv_order_make(galv_order **order, const galv_order_entry *entries,
                            size_t n, const int32_t *virtual_stages, size_t *at,
                            galv_arena *arena, galv_err *err)
{
    galv_status status = check_ranges(entries, n, at, err);
    galv_order *made = GALV_NEW(arena, galv_order);
    if (status != GALV_OK || made == NULL) {
        return status != GALV_OK ? status
                                 : galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_order_count(&made->n_stages, &made->n_chunks, entries, n);
    for (size_t i = 0; i < n; i++) {
        const galv_slot *slot = &entries[i].slot;
        made->n_micro_batches = slot->micro_batch >= made->n_micro_batches
                                    ? slot->micro_batch + 1
                                    : made->n_micro_batches;
        made->splits_backward |= slot->pass > GALV_PASS_BACKWARD;
        made->pairs |= slot->paired != 0;
    }
    int64_t chunks = (int64_t)made->n_stages * made->n_chunks;
    /* two-way: half of the micro-batches on either chunk */
    if (chunks * made->n_micro_batches > (int64_t)n) {
        return galv_fail(err, GALV_INPUT,
                         "%zu slots for %d stages of %d chunks and %d micro-batches: "
                         "each needs its F and B (or I and W)",
                         n, (int)made->n_stages, (int)made->n_chunks,
                         (int)made->n_micro_batches);
    }
    status = place_chunks(made, virtual_stages, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    size_t cells = (size_t)chunks * (size_t)made->n_micro_batches;
    made->n_slots = (size_t)(made->splits_backward ? 3 : 2) *
                    (size_t)made->n_micro_batches * (size_t)made->n_chunks;
    size_t n_slots = (size_t)made->n_stages * made->n_slots;
    made->slots = GALV_NEW_ARRAY(arena, galv_slot, n_slots);
    uint8_t *had = GALV_NEW_ARRAY(arena, uint8_t, cells);
    size_t *n_of = GALV_NEW_ARRAY(arena, size_t, made->n_stages);
    if (made->slots == NULL || had == NULL || n_of == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %zu slots", n);
    }
    status = place_slots(made, entries, n, had, n_of, at, err);
    if (status == GALV_OK) {
        *order = made;
    }
    return status;
}

galv_status galv_order_copy(galv_order **copy, const galv_order *order,
                            galv_arena *arena, galv_err *err)
{
    size_t n_slots = (size_t)order->n_stages * order->n_slots;
    size_t n_places = (size_t)order->n_stages * (size_t)n_lanes(order);
    galv_order *made = GALV_NEW(arena, galv_order);
    galv_slot *slots = GALV_NEW_ARRAY(arena, galv_slot, n_slots);
    int32_t *places = GALV_NEW_ARRAY(arena, int32_t, n_places);
    if (made == NULL || slots == NULL || places == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %zu slots", n_slots);
    }
    *made = *order;
    made->slots = memcpy(slots, order->slots, n_slots * sizeof *slots);
    made->virtual_stages =
        memcpy(places, order->virtual_stages, n_places * sizeof *places);
    *copy = made;
    return GALV_OK;
}

/* ---- JSON ---- */

static void put_stage(galv_text *words, const galv_order *order, int32_t stage)
{
    const galv_slot *slots = &order->slots[(size_t)stage * order->n_slots];
    galv_text_reset(words);
    for (size_t i = 0; i < order->n_slots && slots[i].pass != GALV_PASS_NONE; i++) {
        if (i > 0) {
            galv_text_append_char(words, slots[i - 1].paired ? '+' : ' ');
        }
        galv_text_printf(words, "%s%d", galv_pass_letters[slots[i].pass],
                         (int)slots[i].micro_batch);
        if (slots[i].chunk > 0) {
            galv_text_printf(words, ".%d", (int)slots[i].chunk);
        }
    }
}

void galv_order_to_json(const galv_order *order, galv_json_writer *writer)
{
    galv_text words = GALV_TEXT_INIT;
    int32_t lanes = n_lanes(order);
    galv_json_begin_object(writer, false);
    galv_json_put_key(writer, "virtual_stages");
    galv_json_begin_array(writer, true);
    for (int32_t i = 0; i < order->n_stages * lanes; i++) {
        galv_json_put_i64(writer, order->virtual_stages[i]);
    }
    galv_json_end_array(writer);
    galv_json_put_key(writer, "stages");
    galv_json_begin_array(writer, false);
    for (int32_t stage = 0; stage < order->n_stages; stage++) {
        put_stage(&words, order, stage);
        writer->out->failed |= words.failed;
        galv_json_put_string(writer, galv_text_string(&words));
    }
    galv_json_end_array(writer);
    galv_json_end_object(writer);
    galv_text_release(&words);
}

/* A whole number below `end`; moves *at behind it. */
static bool read_number(int32_t *number, const char **at, int32_t end)
{
    int64_t n = 0;
    const char *p = *at;
    for (; *p >= '0' && *p <= '9' && n < end; p++) {
        n = 10 * n + (*p - '0');
    }
    bool good = p != *at && n < end && !(*p >= '0' && *p <= '9');
    *at = p;
    *number = good ? (int32_t)n : 0;
    return good;
}

/* "F3.1", and the '+' behind it. */
static bool read_word(galv_order_entry *entry, const char **at)
{
    static const char letters[] = "FBIW";
    const char *letter = **at == '\0' ? NULL : strchr(letters, **at);
    int32_t chunk = 0;
    if (letter == NULL) {
        return false;
    }
    (*at)++;
    entry->slot.pass = (uint8_t)(letter - letters);
    bool good =
        read_number(&entry->slot.micro_batch, at, GALV_MOST_ORDER_MICRO_BATCHES);
    if (good && **at == '.') {
        (*at)++;
        good = read_number(&chunk, at, GALV_MOST_ORDER_CHUNKS);
    }
    entry->slot.chunk = (int16_t)chunk;
    if (good && **at == '+') {
        (*at)++;
        entry->slot.paired = 1;
        return true;
    }
    return good && (**at == ' ' || **at == '\0');
}

/* Words are at least two bytes long, with what parts them. */
static size_t most_words(galv_json_value stages, galv_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < galv_json_length(stages); i++) {
        const char *words = "";
        if (galv_json_to_string(&words, galv_json_element(stages, i), err) != GALV_OK) {
            return 0;
        }
        n += strlen(words) / 2 + 1;
    }
    return n;
}

static galv_status read_stage(galv_order_entry *entries, size_t *n, int32_t stage,
                              galv_json_value value, galv_err *err)
{
    const char *words = "";
    galv_status status = galv_json_to_string(&words, value, err);
    if (status != GALV_OK) {
        return status;
    }
    for (const char *at = words; *at != '\0';) {
        galv_order_entry entry = {.stage = stage};
        const char *word = at;
        if (*at == ' ') {
            at++;
        } else if (read_word(&entry, &at)) {
            entries[(*n)++] = entry;
        } else {
            return galv_json_fail(value, err,
                                  "'%.*s' is no slot; one is F0, B0, I0 or W0, on "
                                  "another chunk F0.1",
                                  (int)strcspn(word, " "), word);
        }
    }
    return GALV_OK;
}

static galv_status read_places(int32_t **places, galv_json_value value, size_t n,
                               galv_arena *arena, galv_err *err)
{
    int32_t *made = GALV_NEW_ARRAY(arena, int32_t, n);
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %zu chunks", n);
    }
    if (galv_json_type_of(value) != GALV_JSON_ARRAY || galv_json_length(value) != n) {
        return galv_json_fail(value, err, "expected an array of %zu virtual stages", n);
    }
    for (size_t i = 0; i < n; i++) {
        int64_t s = 0;
        galv_status status =
            galv_json_to_i64(&s, galv_json_element(value, i), 0, INT32_MAX / 2, err);
        if (status != GALV_OK) {
            return status;
        }
        made[i] = (int32_t)s;
    }
    *places = made;
    return GALV_OK;
}

static galv_status read_order(galv_order **order, galv_json_value places_value,
                              galv_json_value stages, galv_arena *arena, galv_err *err)
{
    size_t n_stages = galv_json_length(stages);
    if (galv_json_type_of(stages) != GALV_JSON_ARRAY || n_stages < 1 ||
        n_stages > GALV_MOST_ORDER_STAGES) {
        return galv_json_fail(stages, err, "expected a line of slots for each stage");
    }
    size_t most = most_words(stages, err);
    galv_order_entry *entries = err->status == GALV_OK
                                    ? GALV_NEW_ARRAY(arena, galv_order_entry, most + 1)
                                    : NULL;
    if (entries == NULL) {
        return err->status != GALV_OK
                   ? err->status
                   : galv_fail(err, GALV_NO_MEMORY, "no memory for %zu slots", most);
    }
    galv_status status = GALV_OK;
    size_t n = 0;
    for (size_t i = 0; i < n_stages && status == GALV_OK; i++) {
        status = read_stage(entries, &n, (int32_t)i, galv_json_element(stages, i), err);
    }
    int32_t counted = 0;
    int32_t n_chunks = 0;
    int32_t *places = NULL;
    galv_order_count(&counted, &n_chunks, entries, n);
    if (status == GALV_OK && galv_json_type_of(places_value) != GALV_JSON_ABSENT) {
        status =
            read_places(&places, places_value, n_stages * (size_t)n_chunks, arena, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    size_t at = SIZE_MAX;
    galv_err why = GALV_ERR_INIT;
    if ((size_t)counted != n_stages) {
        return galv_json_fail(stages, err, "the last stage has no slot");
    }
    status = galv_order_make(order, entries, n, places, &at, arena, &why);
    if (status == GALV_INPUT) {
        return galv_json_fail(
            at == SIZE_MAX ? stages
                           : galv_json_element(stages, (size_t)entries[at].stage),
            err, "%s", why.message);
    }
    if (status != GALV_OK) {
        *err = why;
    }
    return status;
}

galv_status galv_order_from_json(galv_order **order, galv_json_value value,
                                 galv_arena *arena, galv_err *err)
{
    galv_json_object o;
    galv_json_enter(&o, value, err);
    galv_json_value places = galv_json_get(&o, "virtual_stages", GALV_OPTIONAL);
    galv_json_value stages = galv_json_get(&o, "stages", GALV_REQUIRED);
    galv_status status = galv_json_leave(&o);
    return status != GALV_OK ? status : read_order(order, places, stages, arena, err);
}
