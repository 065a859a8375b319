/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the harness's programs and the benchmark share. */
#ifndef WEIR_BENCH_ABI_H
#define WEIR_BENCH_ABI_H

#include <linux/types.h>

#define BENCH_FRAMES  131072
#define BENCH_ETH_LEN 14
#define BENCH_L3_LEN  60 /* IPv6 and TCP headers; the rest of shorter ones is payload */

/* C names, as in all that the kernel's side includes. NOLINTBEGIN(readability-identifier-naming) */

/* One packet from its network header on, and whose it is: one cache line. */
struct bench_frame {
	__u8 l3[BENCH_L3_LEN];
	__u32 endpoint; /* of the pod that sends it, 0: from a device */
};

struct bench_state {
	__u32 next; /* frame of the next packet */
	__u32 count;
	__u8 eth[BENCH_ETH_LEN];
	__u8 pad[2];
};

/* A key of the size of an IPv4 flow's. */
struct bench_key {
	__u32 number;
	__u32 rest[3];
};

/* A value of the size of a flow's. */
struct bench_entry {
	__u32 word;
	__u32 rest[23];
};

/* As large as an established IPv4 flow is with all that the kernel keeps around it. */
struct bench_line {
	__u64 zero;
	__u64 rest[23];
};

/* NOLINTEND(readability-identifier-naming) */

#endif
