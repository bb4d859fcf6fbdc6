/* SPDX-License-Identifier: Apache-2.0 */
/* test_wire.h - the test cases that make up the program test_wire. */
#ifndef TEST_WIRE_H
#define TEST_WIRE_H

#include <check.h>

void add_control_tests(Suite *s);

#endif
