/* How many instances by lot a test goes through. */
#ifndef GALV_TESTS_SUPPORT_INSTANCES_H
#define GALV_TESTS_SUPPORT_INSTANCES_H

/* That the answer is right for n of them is for the release build to say; a sanitizer,
 * three to five times slower, sees the same lines of code in a fifth. */
#ifdef __SANITIZE_ADDRESS__
#define GALV_TEST_INSTANCES(n) ((n) / 5)
#else
#define GALV_TEST_INSTANCES(n) (n)
#endif

#endif
