/* Whole files. Reading takes regular files, pipes and standard input; a folder, a
 * device or a socket is refused, since "read to the end" means nothing there. Writing
 * goes to PATH.tmp first and is renamed over PATH only when every byte is in it, so a
 * full disk leaves the old file as it was. What already exists and is no regular file
 * (/dev/stdout, a pipe) is written to directly: renaming over it would replace it.
 * There is no fsync: the promise is against our failures, not against a power cut. */
#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* realpath */
#endif
#include "base/file.h"

#include "base/text.h"
#include "base/words.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_LIMIT ((size_t)1 << 30)
#define READ_BYTES    ((size_t)64 * 1024)

/* strerror that may be called from any thread. */
static const char *reason(int number, char *buffer, size_t size)
{
    if (strerror_r(number, buffer, size) != 0) {
        (void)snprintf(buffer, size, "error %d", number);
    }
    return buffer;
}

/* Hints at the name in the same folder that is nearest to the missing one. */
static void hint_nearest_name(const char *path, galv_err *err)
{
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        return;
    }
    const char *slash = strrchr(path, '/');
    const char *base = slash == NULL ? path : slash + 1;
    char *folder = galv_arena_strdup(arena, slash == NULL ? "." : path);
    if (folder != NULL && slash != NULL) {
        folder[slash == path ? 1 : slash - path] = '\0';
    }
    char **names = NULL;
    size_t n_names = 0;
    galv_err ignored = GALV_ERR_INIT;
    if (folder != NULL && base[0] != '\0' &&
        galv_folder_list(&names, &n_names, folder, arena, &ignored) == GALV_OK) {
        const char *near = galv_word_nearest((const char *const *)names, n_names, base);
        if (near != NULL && slash != NULL) {
            galv_hint(err, "did you mean '%.*s%s'?", (int)(base - path), path, near);
        } else if (near != NULL) {
            galv_hint(err, "did you mean '%s'?", near);
        }
    }
    galv_arena_free(arena);
}

static galv_status too_large(const char *name, size_t limit, galv_err *err)
{
    return galv_fail_at(err, name, 0, 0, "larger than the limit of %zu bytes", limit);
}

static galv_status read_failed(const char *name, galv_err *err)
{
    char buffer[128];
    int number = errno;
    return galv_fail_at(err, name, 0, 0, "cannot read: %s",
                        reason(number, buffer, sizeof buffer));
}

/* read(2) until `size` bytes or the end; -1 on error. */
static ssize_t read_fully(int file, char *bytes, size_t size)
{
    size_t got = 0;
    while (got < size) {
        ssize_t n = read(file, bytes + got, size - got);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        if (n == 0) {
            break;
        }
        got += (size_t)n;
    }
    return (ssize_t)got;
}

/* A stream of unknown length: collected piece by piece, then copied into the arena. */
static galv_status read_stream(char **bytes, size_t *length, int file, const char *name,
                               size_t limit, galv_arena *arena, galv_err *err)
{
    galv_status status = GALV_OK;
    galv_text all = GALV_TEXT_INIT;
    char *piece = malloc(READ_BYTES);
    char *copy = NULL;
    if (piece == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory reading %s", name);
    }
    for (;;) {
        ssize_t n = read_fully(file, piece, READ_BYTES);
        if (n < 0) {
            status = read_failed(name, err);
            break;
        }
        galv_text_append_bytes(&all, piece, (size_t)n);
        if (all.length > limit) {
            status = too_large(name, limit, err);
            break;
        }
        if ((size_t)n < READ_BYTES || all.failed) {
            break;
        }
    }
    free(piece);
    if (status == GALV_OK) {
        copy = all.failed ? NULL : galv_arena_calloc(arena, all.length + 1, 1);
        if (copy == NULL) {
            status = galv_fail(err, GALV_NO_MEMORY, "out of memory reading %s", name);
        } else {
            if (all.length > 0) {
                memcpy(copy, all.bytes, all.length);
            }
            *bytes = copy;
            *length = all.length;
        }
    }
    galv_text_release(&all);
    return status;
}

/* A regular file of a known size: straight into the arena. */
static galv_status read_sized(char **bytes, size_t *length, int file, const char *name,
                              size_t size, galv_arena *arena, galv_err *err)
{
    char *content = galv_arena_calloc(arena, size + 1, 1);
    if (content == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory reading %s", name);
    }
    ssize_t n = read_fully(file, content, size);
    if (n < 0) {
        return read_failed(name, err);
    }
    *bytes = content;
    *length = (size_t)n;
    return GALV_OK;
}

galv_status galv_file_read(char **bytes, size_t *length, const char *path,
                           size_t limit_bytes, galv_arena *arena, galv_err *err)
{
    size_t limit = limit_bytes == 0 ? DEFAULT_LIMIT : limit_bytes;
    if (strcmp(path, "-") == 0) {
        return read_stream(bytes, length, STDIN_FILENO, "standard input", limit, arena,
                           err);
    }
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (file < 0) {
        char buffer[128];
        int number = errno;
        galv_fail_at(err, path, 0, 0, "cannot open: %s",
                     reason(number, buffer, sizeof buffer));
        if (number == ENOENT) {
            hint_nearest_name(path, err);
        }
        return GALV_INPUT;
    }
    struct stat info;
    galv_status status;
    if (fstat(file, &info) != 0) {
        status = read_failed(path, err);
    } else if (S_ISDIR(info.st_mode)) {
        status = galv_fail_at(err, path, 0, 0, "is a folder, not a file");
    } else if (!S_ISREG(info.st_mode) && !S_ISFIFO(info.st_mode)) {
        status = galv_fail_at(err, path, 0, 0, "is not a regular file");
    } else if (S_ISREG(info.st_mode) && (uintmax_t)info.st_size > limit) {
        status = too_large(path, limit, err);
    } else if (S_ISREG(info.st_mode) && info.st_size > 0) {
        status =
            read_sized(bytes, length, file, path, (size_t)info.st_size, arena, err);
    } else {
        status = read_stream(bytes, length, file, path, limit, arena, err);
    }
    close(file);
    return status;
}

static galv_status write_failed(const char *path, const char *what, int number,
                                galv_err *err)
{
    char buffer[128];
    galv_status status = galv_fail(err, GALV_IO, "cannot %s: %s", what,
                                   reason(number, buffer, sizeof buffer));
    galv_err_set_file(err, path);
    return status;
}

/* write(2) until all is written; false with errno set. */
static bool write_fully(int file, const char *bytes, size_t length)
{
    size_t done = 0;
    while (done < length) {
        ssize_t n = write(file, bytes + done, length - done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return false;
        }
        done += (size_t)n;
    }
    return true;
}

/* Into what is no regular file: a pipe, a terminal, /dev/null. */
static galv_status write_directly(const char *path, const char *bytes, size_t length,
                                  galv_err *err)
{
    int file = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (file < 0) {
        return write_failed(path, "open for writing", errno, err);
    }
    bool written = write_fully(file, bytes, length);
    int number = errno;
    if (close(file) != 0 && written) {
        written = false;
        number = errno;
    }
    return written ? GALV_OK : write_failed(path, "write", number, err);
}

/* Into TMP, then over PATH. `mode` < 0: as the umask says. */
static galv_status write_by_rename(const char *path, const char *tmp, int mode,
                                   const char *bytes, size_t length, galv_err *err)
{
    int file = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0) {
        return write_failed(path, "create", errno, err);
    }
    const char *step = "write";
    bool good = write_fully(file, bytes, length);
    int number = errno;
    if (good && mode >= 0) {
        (void)fchmod(file, (mode_t)mode & 07777U); /* a courtesy: may be refused */
    }
    if (close(file) != 0 && good) {
        good = false;
        number = errno;
    }
    if (good && rename(tmp, path) != 0) {
        good = false;
        number = errno;
        step = "replace";
    }
    if (!good) {
        (void)unlink(tmp);
        return write_failed(path, step, number, err);
    }
    return GALV_OK;
}

galv_status galv_file_write(const char *path, const char *bytes, size_t length,
                            galv_err *err)
{
    if (strcmp(path, "-") == 0) {
        if (fflush(stdout) != 0 || !write_fully(STDOUT_FILENO, bytes, length)) {
            return write_failed("standard output", "write", errno, err);
        }
        return GALV_OK;
    }
    struct stat info;
    int mode = -1;
    char *target = NULL; /* where a link leads: the link itself stays */
    if (stat(path, &info) == 0) {
        if (S_ISDIR(info.st_mode)) {
            return write_failed(path, "write", EISDIR, err);
        }
        if (!S_ISREG(info.st_mode)) {
            return write_directly(path, bytes, length, err);
        }
        mode = (int)(info.st_mode & 07777U);
        target = realpath(path, NULL);
    }
    galv_text tmp = GALV_TEXT_INIT;
    const char *final = target == NULL ? path : target;
    galv_text_printf(&tmp, "%s.tmp", final);
    galv_status status =
        tmp.failed
            ? galv_fail(err, GALV_NO_MEMORY, "out of memory writing %s", path)
            : write_by_rename(final, galv_text_string(&tmp), mode, bytes, length, err);
    galv_text_release(&tmp);
    free(target);
    return status;
}

galv_status galv_folder_make(const char *path, galv_err *err)
{
    galv_text part = GALV_TEXT_INIT;
    galv_text_append(&part, path);
    if (part.failed) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory making a folder");
    }
    galv_status status = GALV_OK;
    for (size_t i = 1; i <= part.length && status == GALV_OK; i++) {
        char here = part.bytes[i];
        if (here != '/' && here != '\0') {
            continue;
        }
        part.bytes[i] = '\0';
        if (mkdir(part.bytes, 0777) != 0) {
            int number = errno; /* EROFS, EACCES: only wrong when it is not there */
            if (!galv_is_folder(part.bytes)) {
                status = write_failed(part.bytes, "make the folder",
                                      number == EEXIST ? ENOTDIR : number, err);
            }
        }
        part.bytes[i] = here;
    }
    galv_text_release(&part);
    return status;
}

/* Cuts "a/b/" and "a/b" to "a"; "b" becomes ".". */
static void cut_to_parent(char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    while (length > 0 && path[length - 1] != '/') {
        length--;
    }
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    if (length == 0) {
        path[length++] = '.';
    }
    path[length] = '\0';
}

/* Can something be made in this folder? */
static galv_status check_folder(const char *folder, const char *path, const char *what,
                                galv_err *err)
{
    struct stat info;
    if (stat(folder, &info) != 0) {
        return write_failed(path, what, errno, err);
    }
    if (!S_ISDIR(info.st_mode)) {
        return write_failed(path, what, ENOTDIR, err);
    }
    return access(folder, W_OK | X_OK) == 0 ? GALV_OK
                                            : write_failed(path, what, errno, err);
}

galv_status galv_file_check_place(const char *path, galv_err *err)
{
    struct stat info;
    bool there = stat(path, &info) == 0;
    if (strcmp(path, "-") == 0 || (there && !S_ISREG(info.st_mode))) {
        return GALV_OK; /* written to as it is, or refused as a folder */
    }
    char *folder = there ? realpath(path, NULL) : strdup(path);
    if (folder == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory looking for %s", path);
    }
    cut_to_parent(folder);
    galv_status status = check_folder(folder, path, "create", err);
    free(folder);
    return status;
}

galv_status galv_folder_check_place(const char *path, galv_err *err)
{
    char *folder = strdup(path);
    if (folder == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory looking for %s", path);
    }
    struct stat info;
    while (stat(folder, &info) != 0 && errno == ENOENT && strcmp(folder, ".") != 0 &&
           strcmp(folder, "/") != 0) {
        cut_to_parent(folder);
    }
    galv_status status = check_folder(
        folder, path, galv_is_folder(path) ? "write" : "make the folder", err);
    free(folder);
    return status;
}

bool galv_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool galv_is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Appends a copy of a name; false when memory is out. */
static bool add_name(char ***names, size_t *n_names, size_t *capacity, const char *name,
                     galv_arena *arena)
{
    if (*n_names == *capacity) {
        size_t larger = *capacity == 0 ? 32 : *capacity * 2;
        char **grown = GALV_NEW_ARRAY(arena, char *, larger);
        if (grown == NULL) {
            return false;
        }
        if (*n_names > 0) {
            memcpy(grown, *names, *n_names * sizeof **names);
        }
        *names = grown;
        *capacity = larger;
    }
    char *copy = galv_arena_strdup(arena, name);
    if (copy == NULL) {
        return false;
    }
    (*names)[(*n_names)++] = copy;
    return true;
}

galv_status galv_folder_list(char ***names, size_t *n_names, const char *path,
                             galv_arena *arena, galv_err *err)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        char buffer[128];
        int number = errno;
        return galv_fail_at(err, path, 0, 0, "cannot open the folder: %s",
                            reason(number, buffer, sizeof buffer));
    }
    char **found = NULL;
    size_t n_found = 0;
    size_t capacity = 0;
    galv_status status = GALV_OK;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            if (errno != 0) {
                status = read_failed(path, err);
            }
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (!add_name(&found, &n_found, &capacity, entry->d_name, arena)) {
            status = galv_fail(err, GALV_NO_MEMORY, "out of memory listing %s", path);
            break;
        }
    }
    closedir(folder);
    if (status == GALV_OK) {
        if (n_found > 1) {
            qsort(found, n_found, sizeof *found, compare_names);
        }
        *names = found;
        *n_names = n_found;
    }
    return status;
}

char *galv_path_join(galv_arena *arena, const char *folder, const char *name)
{
    size_t length = strlen(folder);
    const char *between = length == 0 || folder[length - 1] == '/' ? "" : "/";
    return galv_arena_printf(arena, "%s%s%s", folder, between, name);
}

bool galv_path_has_extension(const char *path, const char *extension)
{
    size_t n_path = strlen(path);
    size_t n_extension = strlen(extension);
    if (n_path < n_extension) {
        return false;
    }
    const char *tail = path + n_path - n_extension;
    for (size_t i = 0; i < n_extension; i++) {
        char a = tail[i] >= 'A' && tail[i] <= 'Z' ? (char)(tail[i] + 32) : tail[i];
        char b = extension[i] >= 'A' && extension[i] <= 'Z' ? (char)(extension[i] + 32)
                                                            : extension[i];
        if (a != b) {
            return false;
        }
    }
    return true;
}
