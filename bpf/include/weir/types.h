/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Types shared by BPF C and C++: what every other ABI header is built from.
 *
 * Everything in this directory crosses the boundary between kernel and user space, most of it
 * through pinned maps that outlive an agent. A change of layout is a change of WEIR_ABI_VERSION
 * (limits.h).
 */
#ifndef WEIR_TYPES_H
#define WEIR_TYPES_H

#include <linux/types.h>

#ifdef __cplusplus
#include <type_traits>
/* Map keys are compared by their bytes: a padding hole would make equal keys differ. */
#define WEIR_ABI_KEY(type, size)                                                                   \
	static_assert(sizeof(type) == (size) && std::is_trivially_copyable_v<type> &&              \
		      std::has_unique_object_representations_v<type>)
#define WEIR_ABI_VALUE(type, size)                                                                 \
	static_assert(sizeof(type) == (size) && std::is_trivially_copyable_v<type>)
#else
#define WEIR_ABI_KEY(type, size)   _Static_assert(sizeof(type) == (size), #type)
#define WEIR_ABI_VALUE(type, size) _Static_assert(sizeof(type) == (size), #type)
#endif

/*
 * An address of either family, network byte order. IPv4 is held v4-mapped (::ffff:a.b.c.d), so that
 * one code path serves both; the all-zero value means "any" or "none" as the user of it says.
 */
struct weir_addr {
	__be32 w[4];
};
WEIR_ABI_KEY(struct weir_addr, 16);

#endif
