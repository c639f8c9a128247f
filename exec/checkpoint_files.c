/* One file: a header, the pieces, then master weights, first and second moments of all
 * of them. It is written in one go with its checksum, and read through a mapping, so
 * that a rank of another plan can pick the runs that it needs. */
#include "exec/checkpoint_internal.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTE_ORDER_MARK 0x01020304U

typedef struct header {
    char magic[8];
    uint32_t byte_order, piece_bytes;
    int64_t n_pieces, n_values;
} header;

static const char magic[8] = {'g', 'a', 'l', 'v', 's', 't', 'a', '1'};

/* ---- checksum ---- */

/* CRC-32 of IEEE 802.3 (polynomial 0xedb88320, reflected), eight bytes at a time.
 * Source: Kounavis and Berry 2005, "A systematic approach to building high performance
 * software-based CRC generators". */
typedef struct crc_tables {
    uint32_t of[8][256];
} crc_tables;

static void fill_tables(crc_tables *t)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320U : 0);
        }
        t->of[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++) {
        for (int k = 1; k < 8; k++) {
            t->of[k][i] = t->of[k - 1][i] >> 8 ^ t->of[0][t->of[k - 1][i] & 255];
        }
    }
}

/* Goes on from `crc` (0 at first). */
static uint32_t crc_of(const crc_tables *t, uint32_t crc, const void *data, size_t n)
{
    const unsigned char *byte = data;
    crc = ~crc;
    for (; n >= 8; n -= 8, byte += 8) {
        uint32_t low = crc ^ ((uint32_t)byte[0] | (uint32_t)byte[1] << 8 |
                              (uint32_t)byte[2] << 16 | (uint32_t)byte[3] << 24);
        crc = t->of[7][low & 255] ^ t->of[6][low >> 8 & 255] ^
              t->of[5][low >> 16 & 255] ^ t->of[4][low >> 24] ^ t->of[3][byte[4]] ^
              t->of[2][byte[5]] ^ t->of[1][byte[6]] ^ t->of[0][byte[7]];
    }
    for (; n > 0; n--, byte++) {
        crc = crc >> 8 ^ t->of[0][(crc ^ *byte) & 255];
    }
    return ~crc;
}

/* ---- writing ---- */

typedef struct sink {
    int fd;
    bool failed;
    int64_t bytes;
    uint32_t crc32;
    crc_tables tables;
} sink;

static void put(sink *s, const void *data, size_t n)
{
    const char *from = data;
    if (s->failed) {
        return;
    }
    s->crc32 = crc_of(&s->tables, s->crc32, data, n);
    s->bytes += (int64_t)n;
    while (n > 0) {
        ssize_t written = write(s->fd, from, n);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            errno = written == 0 ? ENOSPC : errno;
            s->failed = true;
            return;
        }
        from += written;
        n -= (size_t)written;
    }
}

/* Opens, or says why not. */
static bool open_sink(sink *s, const char *path)
{
    memset(s, 0, sizeof *s);
    fill_tables(&s->tables);
    s->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    s->failed = s->fd < 0;
    return !s->failed;
}

static galv_status close_sink(sink *s, const char *path, galv_err *err)
{
    int why = s->failed ? errno : 0;
    if (s->fd >= 0) {
        if (why == 0 && fsync(s->fd) != 0) {
            why = errno;
        }
        if (close(s->fd) != 0 && why == 0) {
            why = errno;
        }
    }
    if (why == 0 && !s->failed) {
        return GALV_OK;
    }
    galv_fail(err, GALV_IO, "cannot write the checkpoint: %s", strerror(why));
    galv_err_set_file(err, path);
    galv_hint(err, "checkpoints before it are as they were; make room, then resume");
    return GALV_IO;
}

galv_status galv_state_file_write(galv_checkpoint_file *file, const char *path,
                                  const galv_state *state, galv_err *err)
{
    sink s;
    header h = {.byte_order = BYTE_ORDER_MARK,
                .piece_bytes = sizeof(galv_piece),
                .n_pieces = state->n_pieces,
                .n_values = state->n_values};
    memcpy(h.magic, magic, sizeof magic);
    if (open_sink(&s, path)) {
        put(&s, &h, sizeof h);
        put(&s, state->pieces, (size_t)state->n_pieces * sizeof *state->pieces);
        for (int i = 0; i < GALV_STATE_ARRAYS; i++) {
            put(&s, state->values[i], (size_t)state->n_values * sizeof(float));
        }
    }
    galv_status status = close_sink(&s, path, err);
    if (status == GALV_OK) {
        file->bytes = s.bytes;
        file->crc32 = s.crc32;
    }
    return status;
}

galv_status galv_file_write_durably(const char *path, const char *bytes, size_t length,
                                    galv_err *err)
{
    sink s;
    if (open_sink(&s, path)) {
        put(&s, bytes, length);
    }
    return close_sink(&s, path, err);
}

galv_status galv_folder_sync(const char *path, galv_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
    int why = errno;
    if (fd >= 0) {
        close(fd);
    }
    return synced ? GALV_OK
                  : galv_fail(err, GALV_IO, "cannot sync %s: %s", path, strerror(why));
}

galv_status galv_folder_remove(const char *path, galv_err *err)
{
    char name[2048];
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return errno == ENOENT ? GALV_OK
                               : galv_fail(err, GALV_IO, "cannot remove %s: %s", path,
                                           strerror(errno));
    }
    for (const struct dirent *entry = readdir(folder); entry != NULL;
         entry = readdir(folder)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
            unlink(name);
        }
    }
    closedir(folder);
    return rmdir(path) == 0
               ? GALV_OK
               : galv_fail(err, GALV_IO, "cannot remove %s: %s", path, strerror(errno));
}

/* ---- reading ---- */

/* The lengths that a header tells must be those of the file, and every piece must lie
 * within. */
static const char *find_fault(galv_state_file *file)
{
    const header *h = file->map;
    if (file->bytes < sizeof *h || memcmp(h->magic, magic, sizeof magic) != 0) {
        return "it is not a file of a checkpoint";
    }
    if (h->byte_order != BYTE_ORDER_MARK || h->piece_bytes != sizeof(galv_piece)) {
        return "it was written by a machine or a version that differs";
    }
    int64_t most = INT64_MAX / 256;
    if (h->n_pieces < 0 || h->n_pieces > most || h->n_values < 0 ||
        h->n_values > most ||
        sizeof *h + (size_t)h->n_pieces * sizeof(galv_piece) +
                12 * (size_t)h->n_values !=
            file->bytes) {
        return "its lengths are wrong: it is corrupt";
    }
    file->n_pieces = h->n_pieces;
    file->n_values = h->n_values;
    file->pieces = (const galv_piece *)(h + 1);
    for (int i = 0; i < GALV_STATE_ARRAYS; i++) {
        file->values[i] = (const float *)(file->pieces + h->n_pieces) + i * h->n_values;
    }
    for (int64_t i = 0; i < h->n_pieces; i++) {
        const galv_piece *p = &file->pieces[i];
        bool box = p->rows > 0 && p->cols > 0 && p->first_row >= 0 && p->n_rows > 0 &&
                   p->n_rows <= p->rows - p->first_row && p->first_col >= 0 &&
                   p->n_cols > 0 && p->n_cols <= p->cols - p->first_col &&
                   p->rows <= INT64_MAX / p->cols;
        if (!box || p->begin < 0 || p->end < p->begin ||
            p->end > p->n_rows * p->n_cols || p->offset < 0 ||
            p->offset > h->n_values - (p->end - p->begin)) {
            return "its pieces are wrong: it is corrupt";
        }
    }
    return NULL;
}

static galv_status map_file(galv_state_file *file, const char *path, int64_t expected,
                            galv_err *err)
{
    struct stat found;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &found) != 0) {
        galv_fail(err, GALV_INPUT, "cannot be read: %s", strerror(errno));
    } else if ((int64_t)found.st_size != expected) {
        galv_fail(err, GALV_INPUT, "has %lld bytes, its manifest says %lld: %s",
                  (long long)found.st_size, (long long)expected,
                  (int64_t)found.st_size < expected ? "it is cut short"
                                                    : "it is corrupt");
    } else {
        void *map =
            mmap(NULL, (size_t)found.st_size + 1, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) {
            galv_fail(err, GALV_IO, "cannot be mapped: %s", strerror(errno));
        } else {
            file->map = map;
            file->bytes = (size_t)found.st_size;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return err->status;
}

galv_status galv_state_file_open(galv_state_file *file, const char *folder,
                                 const galv_checkpoint_file *expected, bool checked,
                                 galv_err *err)
{
    char path[1200];
    const char *fault = NULL;
    crc_tables tables;
    memset(file, 0, sizeof *file);
    snprintf(path, sizeof path, "%s/%s", folder, expected->name);
    if (map_file(file, path, expected->bytes, err) == GALV_OK && checked) {
        fill_tables(&tables);
        if (crc_of(&tables, 0, file->map, file->bytes) != expected->crc32) {
            fault = "its checksum is not that of its manifest: it is corrupt";
        }
    }
    if (err->status == GALV_OK && fault == NULL) {
        fault = find_fault(file);
    }
    if (fault != NULL) {
        galv_fail(err, GALV_INPUT, "%s", fault);
    }
    if (err->status != GALV_OK) {
        galv_err_set_file(err, path);
        galv_state_file_close(file);
    }
    return err->status;
}

void galv_state_file_close(galv_state_file *file)
{
    if (file->map != NULL) {
        munmap(file->map, file->bytes + 1);
        file->map = NULL;
    }
}
