/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the lookup test's program and its user-space half share. */
#ifndef WEIR_TEST_LOOKUP_H
#define WEIR_TEST_LOOKUP_H

#include "weir/types.h"

/* NOLINTBEGIN(readability-identifier-naming): kernel style */

#define LOOKUP_TARGETS	  256
#define LOOKUPS_A_RUN	  64
#define LOOKUP_PORT(last) (1000 + (last))

enum lookup_kind {
	LOOKUP_STABLE = 0, /* exists throughout */
	LOOKUP_COMING = 1, /* comes and goes */
	LOOKUP_MOVING = 2, /* exists throughout, now in one Service, now in the other */
	LOOKUP_KINDS = 3,
};

/*
 * An address and port to look up. Backends of Service s are 10.s.0.x, port LOOKUP_PORT(x): so a
 * backend tells whose it is, and whether it was read whole.
 */
struct lookup_target {
	struct weir_addr addr;
	__be16 port;
	__u8 proto;
	__u8 kind; /* enum lookup_kind */
	__u8 service[2];
	__u8 pad[2];
};
WEIR_ABI_VALUE(struct lookup_target, 24);

enum lookup_result {
	LOOKUP_FOUND = 0,
	LOOKUP_MISSED = 1,   /* no such VIP */
	LOOKUP_REFUSED = 2,  /* no endpoints, here or anywhere */
	LOOKUP_RACED = 3,    /* gave up after a retry: the packet would be dropped */
	LOOKUP_FOREIGN = 4,  /* a backend of another Service */
	LOOKUP_TORN = 5,     /* half a backend */
	LOOKUP_UNMARKED = 6, /* its ClusterIP is not known as one */
	LOOKUP_RESULTS = 7,
};

/* NOLINTEND(readability-identifier-naming) */

#endif
