/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What C++ sees of the natively compiled lookup. */
#ifndef WEIR_TESTS_POLICY_NATIVE_H
#define WEIR_TESTS_POLICY_NATIVE_H

#include "weir/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum policy_map_id {
    POLICY_MAP_ADDRS,
    POLICY_MAP_CIDRS,
    POLICY_MAP_SLOTS,
    POLICY_MAP_ROWS,
    POLICY_MAP_CELLS,
    POLICY_MAP_RULES,
    POLICY_MAP_SETS,
    POLICY_MAP_COUNT,
};
extern const void* const policy_maps[POLICY_MAP_COUNT];

enum { POLICY_ASK_ACCEPTED = 0, POLICY_ASK_DENIED = 1, POLICY_ASK_RACE = 2 };

struct policy_asked {
    struct weir_addr peer;
    __u16 set;
    __u8 direction;
    __u8 proto;
    __u16 port;
    __u8 self; /* the pod itself, through a Service */
};
struct policy_told {
    __u16 rule;
    __u16 would_rule;
    __u32 would_set;
    __u8 would_deny;
    __u32 counter;
    __u32 identity;
};
int policy_ask(const struct policy_asked* asked, struct policy_told* told);

#ifdef __cplusplus
}
#endif

#endif
