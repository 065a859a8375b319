/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The program array alone: the stubs need no other map. */
#ifndef WEIR_LIB_PROGS_H
#define WEIR_LIB_PROGS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "weir/limits.h"

/* enum weir_hook, then WEIR_STAGE_SLOT() -> program. The loader writes; stubs and programs jump. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, WEIR_PROG_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} weir_progs SEC(".maps");

#endif
