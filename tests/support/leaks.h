/* TestSuite(name, .fini = ...) with the leak check, and the path of the source tree. */
#ifndef GALV_TESTS_SUPPORT_LEAKS_H
#define GALV_TESTS_SUPPORT_LEAKS_H

/* Aborts the test when it leaked memory (AddressSanitizer builds only). */
void galv_test_check_leaks(void);

#define GALV_TEST_SUITE(name) TestSuite(name, .fini = galv_test_check_leaks)

#endif
