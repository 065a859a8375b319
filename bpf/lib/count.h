/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counters besides drops (weir/counters.def). */
#ifndef WEIR_LIB_COUNT_H
#define WEIR_LIB_COUNT_H

#include "config.h"
#include "maps.h"

static __always_inline void count_event(__u32 counter)
{
	__u64 *n = bpf_map_lookup_elem(&weir_counters, &counter);

	if (n && writes_allowed())
		(*n)++;
}

#define count(name) count_event(WEIR_COUNTER_##name)

#endif
