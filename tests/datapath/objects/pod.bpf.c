/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A build of the pod programs whose answers tell which build (MARK) they came from, and whether an
 * entry reached the stage of its own build.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "lib/config.h"
#include "lib/maps.h"

#define ENTRY(hook, HOOK)                                                                          \
	SEC("tc") int hook(struct __sk_buff *skb)                                                  \
	{                                                                                          \
		skb->cb[0] = MARK;                                                                 \
		bpf_tail_call(skb, &weir_progs,                                                    \
			      WEIR_STAGE_SLOT(cfg.bank & 1, HOOK, WEIR_STAGE_NEW_FLOW));           \
		return 98;                                                                         \
	}                                                                                          \
	SEC("tc") int hook##_new_flow(struct __sk_buff *skb)                                       \
	{                                                                                          \
		return skb->cb[0] == MARK ? MARK : 99;                                             \
	}

ENTRY(pod_to, WEIR_HOOK_POD_TO)

#ifdef BROKEN
SEC("tc") int pod_from(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct weir_device *device = bpf_map_lookup_elem(&weir_devices, &key);

	return device->kind; /* not checked: the verifier refuses */
}
#else
ENTRY(pod_from, WEIR_HOOK_POD_FROM)
#endif

char _license[] SEC("license") = "Dual BSD/GPL";
