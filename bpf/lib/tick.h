/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The unit of all stored times (weir/limits.h). */
#ifndef WEIR_LIB_TICK_H
#define WEIR_LIB_TICK_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "weir/limits.h"

static __always_inline __u32 tick_now(void)
{
	return bpf_ktime_get_coarse_ns() >> WEIR_TICK_SHIFT;
}

#endif
