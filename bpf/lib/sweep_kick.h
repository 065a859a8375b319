/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Starts a sweep timer that has stopped, from the path of new flows. */
#ifndef WEIR_LIB_SWEEP_KICK_H
#define WEIR_LIB_SWEEP_KICK_H

#include "context.h"

#define SWEEP_STALLED_TICKS 5

static __always_inline void sweep_kick(const struct weir_ctx *ctx)
{
	__u32 zero = 0;
	struct weir_sweep_slot *slot = bpf_map_lookup_elem(&weir_sweep, &zero);
	__u32 last;

	if (!slot || !writes_allowed())
		return;
	last = slot->stats.last_run_ns >> WEIR_TICK_SHIFT;
	/* Never started: nothing to start again; the agent does that first. */
	if (last && ctx->now - last >= SWEEP_STALLED_TICKS)
		bpf_timer_start(&slot->timer, WEIR_SWEEP_INTERVAL_NS, 0);
}

#endif
