/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What lookup.bpf.c and those who run it agree on. */
#ifndef WEIR_TESTS_POLICY_LOOKUP_H
#define WEIR_TESTS_POLICY_LOOKUP_H

#include "weir/types.h"

/* NOLINTBEGIN(readability-identifier-naming): kernel style */

#define LOOKUP_QUESTIONS 4096
#define LOOKUPS_A_RUN	 1024

struct lookup_question {
	struct weir_addr peer;
	__u16 set;
	__u8 direction;
	__u8 proto;
	__u16 port;
	__u16 pad;
};
WEIR_ABI_VALUE(struct lookup_question, 24);

struct lookup_answer {
	__u32 result;
	__u16 rule;
	__u16 pad;
};
WEIR_ABI_VALUE(struct lookup_answer, 8);

/* NOLINTEND(readability-identifier-naming) */

#endif
