#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* mkdtemp, realpath */
#endif
#include "base/file.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

GALV_TEST_SUITE(base_file);

/* A fresh folder; the tests leave it empty and remove it. */
static char *fresh_folder(galv_arena *arena)
{
    const char *tmp = getenv("TMPDIR");
    char *pattern =
        galv_path_join(arena, tmp == NULL ? "/tmp" : tmp, "galv-file-test-XXXXXX");
    cr_assert_not_null(mkdtemp(pattern));
    return pattern;
}

Test(base_file, what_is_written_is_read_back_and_no_tmp_stays)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    char *folder = fresh_folder(arena);
    char *path = galv_path_join(arena, folder, "plan.json");
    static const char BYTES[] = "a\0b\n";
    char *bytes = NULL;
    size_t length = 99;
    for (size_t size = 0; size <= 4; size += 4) {
        cr_expect_eq(galv_file_write(path, BYTES, size, &err), GALV_OK);
        cr_assert_eq(galv_file_read(&bytes, &length, path, 0, arena, &err), GALV_OK);
        cr_expect_eq(length, size);
        cr_expect_arr_eq(bytes, BYTES, size);
        cr_expect_eq(bytes[length], '\0');
    }
    char **names = NULL;
    size_t n = 0;
    cr_expect_eq(galv_folder_list(&names, &n, folder, arena, &err), GALV_OK);
    cr_expect_eq(n, 1);
    cr_expect_str_eq(names[0], "plan.json");
    unlink(path);
    rmdir(folder);
    galv_arena_free(arena);
}

Test(base_file, a_failed_write_keeps_the_old_file)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    char *folder = fresh_folder(arena);
    char *path = galv_path_join(arena, folder, "old");
    char *tmp = galv_path_join(arena, folder, "old.tmp");
    cr_assert_eq(galv_file_write(path, "old", 3, &err), GALV_OK);
    mkdir(tmp, 0777); /* what stands in the way of PATH.tmp */
    cr_expect_eq(galv_file_write(path, "new", 3, &err), GALV_IO);
    cr_expect_str_eq(err.file, path);
    char *bytes = NULL;
    size_t length = 0;
    galv_err other = GALV_ERR_INIT;
    cr_assert_eq(galv_file_read(&bytes, &length, path, 0, arena, &other), GALV_OK);
    cr_expect_str_eq(bytes, "old");
    rmdir(tmp);
    unlink(path);
    rmdir(folder);
    galv_arena_free(arena);
}

Test(base_file, a_write_cut_short_leaves_the_old_file_and_no_tmp)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    char *folder = fresh_folder(arena);
    char *path = galv_path_join(arena, folder, "old");
    cr_assert_eq(galv_file_write(path, "old", 3, &err), GALV_OK);
    struct rlimit before;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = {4, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    cr_expect_eq(galv_file_write(path, "longer", 6, &err), GALV_IO);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    cr_expect_not_null(strstr(err.message, "File too large"), "%s", err.message);
    char *bytes = NULL;
    size_t length = 0;
    galv_err other = GALV_ERR_INIT;
    cr_assert_eq(galv_file_read(&bytes, &length, path, 0, arena, &other), GALV_OK);
    cr_expect_str_eq(bytes, "old");
    unlink(path);
    cr_expect_eq(rmdir(folder), 0, "nothing else is left");
    galv_arena_free(arena);
}

Test(base_file, a_full_device_is_an_io_error)
{
    if (access("/dev/full", W_OK) != 0) {
        cr_skip_test("no /dev/full");
    }
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(galv_file_write("/dev/full", "x", 1, &err), GALV_IO);
    cr_expect_not_null(strstr(err.message, "No space left"), "%s", err.message);
    galv_err null_err = GALV_ERR_INIT;
    cr_expect_eq(galv_file_write("/dev/null", "x", 1, &null_err), GALV_OK);
    struct stat info;
    cr_expect(stat("/dev/null", &info) == 0 && S_ISCHR(info.st_mode));
}

Test(base_file, a_link_stays_a_link_and_the_mode_stays)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    char *folder = fresh_folder(arena);
    char *path = galv_path_join(arena, folder, "real");
    char *link = galv_path_join(arena, folder, "link");
    cr_assert_eq(galv_file_write(path, "1", 1, &err), GALV_OK);
    cr_assert_eq(chmod(path, 0600), 0);
    cr_assert_eq(symlink("real", link), 0);
    cr_expect_eq(galv_file_write(link, "2", 1, &err), GALV_OK, "%s", err.message);
    struct stat info;
    cr_expect(lstat(link, &info) == 0 && S_ISLNK(info.st_mode));
    cr_expect(stat(path, &info) == 0 && (info.st_mode & 0777) == 0600);
    char *bytes = NULL;
    size_t length = 0;
    galv_file_read(&bytes, &length, path, 0, arena, &err);
    cr_expect_str_eq(bytes, "2");
    unlink(link);
    unlink(path);
    rmdir(folder);
    galv_arena_free(arena);
}

Test(base_file, what_cannot_be_read_says_why)
{
    galv_arena *arena = galv_arena_new();
    char *folder = fresh_folder(arena);
    char *path = galv_path_join(arena, folder, "cluster.json");
    char *wrong = galv_path_join(arena, folder, "clutser.json");
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_file_write(path, "12345", 5, &err), GALV_OK);
    char *bytes = NULL;
    size_t length = 7;
    cr_expect_eq(galv_file_read(&bytes, &length, wrong, 0, arena, &err), GALV_INPUT);
    cr_expect_str_eq(err.file, wrong);
    cr_expect_not_null(strstr(err.hint, "cluster.json'?"), "%s", err.hint);
    galv_err limit = GALV_ERR_INIT;
    cr_expect_eq(galv_file_read(&bytes, &length, path, 4, arena, &limit), GALV_INPUT);
    galv_err is_folder = GALV_ERR_INIT;
    cr_expect_eq(galv_file_read(&bytes, &length, folder, 0, arena, &is_folder),
                 GALV_INPUT);
    cr_expect_str_eq(is_folder.message, "is a folder, not a file");
    galv_err zero = GALV_ERR_INIT;
    cr_expect_eq(galv_file_read(&bytes, &length, "/dev/zero", 0, arena, &zero),
                 GALV_INPUT);
    cr_expect_null(bytes);
    cr_expect_eq(length, 7);
    unlink(path);
    rmdir(folder);
    galv_arena_free(arena);
}

Test(base_file, folders_are_made_with_their_parents_and_listed_in_order)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    char *folder = fresh_folder(arena);
    char *deep = galv_path_join(arena, folder, "b/c//d");
    cr_expect_eq(galv_folder_make(deep, &err), GALV_OK, "%s", err.message);
    cr_expect_eq(galv_folder_make(deep, &err), GALV_OK);
    cr_expect(galv_is_folder(deep));
    cr_expect_not(galv_is_file(deep));
    char *file = galv_path_join(arena, folder, "a");
    cr_assert_eq(galv_file_write(file, "", 0, &err), GALV_OK);
    cr_expect(galv_is_file(file));
    char **names = NULL;
    size_t n = 0;
    cr_assert_eq(galv_folder_list(&names, &n, folder, arena, &err), GALV_OK);
    cr_assert_eq(n, 2);
    cr_expect_str_eq(names[0], "a");
    cr_expect_str_eq(names[1], "b");
    char *below_file = galv_path_join(arena, file, "x");
    cr_expect_eq(galv_folder_make(below_file, &err), GALV_IO);
    unlink(file);
    rmdir(deep);
    rmdir(galv_path_join(arena, folder, "b/c"));
    rmdir(galv_path_join(arena, folder, "b"));
    cr_expect_eq(rmdir(folder), 0);
    galv_arena_free(arena);
}

Test(base_file, a_place_that_cannot_be_written_to_is_known_before_and_said_alike)
{
    galv_arena *arena = galv_arena_new();
    char *folder = fresh_folder(arena);
    char *file = galv_path_join(arena, folder, "file");
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(galv_file_check_place(file, &err), GALV_OK, "%s", err.message);
    cr_assert_eq(galv_file_write(file, "x", 1, &err), GALV_OK);
    cr_expect_eq(galv_file_check_place(file, &err), GALV_OK, "%s", err.message);
    cr_expect_eq(galv_file_check_place("/dev/null", &err), GALV_OK);
    cr_expect_eq(galv_folder_check_place(folder, &err), GALV_OK);
    cr_expect_eq(galv_folder_check_place("a-new-folder/in-another/", &err), GALV_OK,
                 "%s", err.message);
    char *deep = galv_path_join(arena, folder, "a/b//c/");
    cr_expect_eq(galv_folder_check_place(deep, &err), GALV_OK, "%s", err.message);
    static const char *const wrong[] = {"nowhere/plan.json", "file/plan.json"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char *path = galv_path_join(arena, folder, wrong[i]);
        galv_err before = GALV_ERR_INIT, written = GALV_ERR_INIT;
        cr_expect_eq(galv_file_check_place(path, &before), GALV_IO);
        cr_expect_eq(galv_file_write(path, "x", 1, &written), GALV_IO);
        cr_expect_str_eq(before.message, written.message);
    }
    static const char *const no_folder[] = {"file", "file/deep/er"};
    for (size_t i = 0; i < sizeof no_folder / sizeof no_folder[0]; i++) {
        char *path = galv_path_join(arena, folder, no_folder[i]);
        galv_err before = GALV_ERR_INIT, made = GALV_ERR_INIT;
        cr_expect_eq(galv_folder_check_place(path, &before), GALV_IO);
        cr_expect_eq(galv_folder_make(path, &made), GALV_IO);
        cr_expect_str_eq(before.message, made.message);
    }
    unlink(file);
    rmdir(folder);
    galv_arena_free(arena);
}

Test(base_file, names)
{
    galv_arena *arena = galv_arena_new();
    cr_expect_str_eq(galv_path_join(arena, "a", "b"), "a/b");
    cr_expect_str_eq(galv_path_join(arena, "a/", "b"), "a/b");
    cr_expect_str_eq(galv_path_join(arena, "", "b"), "b");
    cr_expect(galv_path_has_extension("x.JSON", ".json"));
    cr_expect_not(galv_path_has_extension("json", ".json"));
    galv_arena_free(arena);
}
