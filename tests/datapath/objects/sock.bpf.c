/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Socket hooks that let everything through and count which build saw it. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "lib/config.h"
#include "lib/maps.h"

static __always_inline int count_and_go(void)
{
	__u32 index = 50 + MARK;
	__u64 *n = bpf_map_lookup_elem(&weir_counters, &index);

	if (n)
		(*n)++;
	return 1;
}

SEC("cgroup/connect4") int sock_connect4(struct bpf_sock_addr *ctx)
{
	return count_and_go();
}

#if MARK == 1
SEC("cgroup/sendmsg4") int sock_sendmsg4(struct bpf_sock_addr *ctx)
{
	return count_and_go();
}
#else
SEC("cgroup/connect6") int sock_connect6(struct bpf_sock_addr *ctx)
{
	return count_and_go();
}
#endif

char _license[] SEC("license") = "Dual BSD/GPL";
