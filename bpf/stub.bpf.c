/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What stays attached for good: one stub a hook, which jumps to whatever program holds the hook's
 * slot. A new build replaces slots, never attachments.
 *
 * An empty slot: a pod's packet is dropped, for nothing polices it; a device's packet goes to the
 * next program, for a host without Weir is still a host.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "lib/progs.h"

SEC("tc")
int stub_pod_from(struct __sk_buff *skb)
{
	bpf_tail_call_static(skb, &weir_progs, WEIR_HOOK_POD_FROM);
	return TC_ACT_SHOT;
}

SEC("tc")
int stub_pod_to(struct __sk_buff *skb)
{
	bpf_tail_call_static(skb, &weir_progs, WEIR_HOOK_POD_TO);
	return TC_ACT_SHOT;
}

SEC("tc")
int stub_dev_in(struct __sk_buff *skb)
{
	bpf_tail_call_static(skb, &weir_progs, WEIR_HOOK_DEV_IN);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int stub_dev_out(struct __sk_buff *skb)
{
	bpf_tail_call_static(skb, &weir_progs, WEIR_HOOK_DEV_OUT);
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
