/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Pieces of a datagram follow their first one, which alone has the ports. */
#ifndef WEIR_LIB_FRAG_H
#define WEIR_LIB_FRAG_H

#include "context.h"
#include "event.h"

enum frag_result {
	FRAG_KNOWN = 0,	  /* the ports are in the context */
	FRAG_UNKNOWN = 1, /* its first piece was not seen, or long ago */
	FRAG_NO_ROOM = 2,
};

static __always_inline int frag_ports(struct weir_ctx *ctx)
{
	struct weir_frag_key key = {.saddr = ctx->t.saddr,
				    .daddr = ctx->t.daddr,
				    .id = ctx->frag_id,
				    .proto = ctx->proto};
	struct weir_frag *known, fresh = {};

	if (ctx->frag == FRAG_FIRST) {
		fresh.port[0] = ctx->t.sport;
		fresh.port[1] = ctx->t.dport;
		fresh.seen = ctx->now;
		if (writes_allowed() && bpf_map_update_elem(&weir_frags, &key, &fresh, BPF_ANY))
			return FRAG_NO_ROOM;
		return FRAG_KNOWN;
	}
	known = bpf_map_lookup_elem(&weir_frags, &key);
	if (!known)
		return FRAG_UNKNOWN;
	fresh = *known;
	if (ctx->now - fresh.seen > WEIR_FRAG_LIFETIME_TICKS)
		return FRAG_UNKNOWN;
	ctx->t.sport = fresh.port[0];
	ctx->t.dport = fresh.port[1];
	return FRAG_KNOWN;
}

#endif
