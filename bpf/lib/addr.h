/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses of either family, IPv4 held v4-mapped. */
#ifndef WEIR_LIB_ADDR_H
#define WEIR_LIB_ADDR_H

#include <stdbool.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>

#include "weir/types.h"

#define WEIR_V4_PREFIX bpf_htonl(0x0000ffff)

static __always_inline bool addr_equal(const struct weir_addr *a, const struct weir_addr *b)
{
	return a->w[3] == b->w[3] && a->w[2] == b->w[2] && a->w[1] == b->w[1] && a->w[0] == b->w[0];
}

static __always_inline bool addr_is_zero(const struct weir_addr *a)
{
	return !(a->w[0] | a->w[1] | a->w[2] | a->w[3]);
}

static __always_inline bool addr_is_v4(const struct weir_addr *a)
{
	return !(a->w[0] | a->w[1]) && a->w[2] == WEIR_V4_PREFIX;
}

static __always_inline bool addr_is_loopback(const struct weir_addr *a)
{
	if (addr_is_v4(a))
		return (a->w[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !(a->w[0] | a->w[1] | a->w[2]) && a->w[3] == bpf_htonl(1);
}

static __always_inline void addr_set4(struct weir_addr *a, __be32 v4)
{
	a->w[0] = 0;
	a->w[1] = 0;
	a->w[2] = WEIR_V4_PREFIX;
	a->w[3] = v4;
}

#endif
