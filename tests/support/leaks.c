/* Makes a leak fail the test that leaked: Criterion alone reports it as passing. Every
 * test file registers its suite with GALV_TEST_SUITE (tests/support/leaks.h). */
#include "tests/support/leaks.h"

#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif

void galv_test_check_leaks(void)
{
#if defined(__SANITIZE_ADDRESS__)
    if (__lsan_do_recoverable_leak_check() != 0) {
        abort();
    }
#endif
}
