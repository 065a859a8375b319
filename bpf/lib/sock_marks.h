/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which sockets may have an element in weir_socks (weir/lb.h). */
#ifndef WEIR_LIB_SOCK_MARKS_H
#define WEIR_LIB_SOCK_MARKS_H

#include <stdbool.h>

#include "maps.h"

#define SOCK_MARK_TRIES 8

static __always_inline __u64 *sock_marks_of(__u64 cookie)
{
	__u32 index = WEIR_SOCK_MARK_ROW(cookie) & (WEIR_SOCK_MARK_WORDS - 1);

	return bpf_map_lookup_elem(&weir_sock_marks, &index);
}

/* How many rows this one is newer than the word's; below zero: older. */
static __always_inline __s32 sock_mark_age(__u64 cookie, __u64 word)
{
	return (__s32)(WEIR_SOCK_MARK_ROW(cookie) - (__u32)(word >> 32));
}

/* Marks the socket, before its element is written. False: too much goes on there for now. */
static __always_inline bool sock_mark(__u64 cookie)
{
	__u64 *marks = sock_marks_of(cookie);
	__u64 old, next, bit = WEIR_SOCK_MARK_BIT(cookie);
	__s32 age;

	if (!marks)
		return false;
	for (int try = 0; try < SOCK_MARK_TRIES; try++) {
		old = *(volatile __u64 *)marks;
		age = sock_mark_age(cookie, old);
		if (age < 0 || (!age && old & bit))
			return true;
		next = age ? (__u64)WEIR_SOCK_MARK_ROW(cookie) << 32 | bit : old | bit;
		if (__sync_val_compare_and_swap(marks, old, next) == old)
			return true;
	}
	return false;
}

/* Certain that the socket has no element? */
static __always_inline bool sock_is_unmarked(__u64 cookie)
{
	__u64 *marks = sock_marks_of(cookie);
	__u64 word = marks ? *(volatile __u64 *)marks : 0;
	__s32 age = sock_mark_age(cookie, word);

	return marks && (age > 0 || (!age && !(word & WEIR_SOCK_MARK_BIT(cookie))));
}

#endif
