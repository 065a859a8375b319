/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Drives programs by BPF_PROG_RUN with many repetitions: each run makes the packet anew from the
 * next frame of an array, then jumps to what is measured. What the drive itself costs is known from
 * a jump to an empty program.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, BENCH_FRAMES);
	__type(key, __u32);
	__type(value, struct bench_frame);
} bench_frames SEC(".maps");

/* 0 -> the program measured. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} bench_target SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BENCH_FRAMES);
	__type(key, struct bench_key);
	__type(value, __u64);
} bench_hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BENCH_FRAMES);
	__type(key, __u32);
	__type(value, struct bench_line);
} bench_lines SEC(".maps");

/* As weir_half4. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct bench_key);
	__type(value, struct bench_entry);
} bench_half SEC(".maps");

struct bench_state state;
__u64 found;

SEC("tc")
int bench_drive(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 index = state.next;
	struct bench_frame *frame = bpf_map_lookup_elem(&bench_frames, &index);

	if (!frame || data + BENCH_ETH_LEN + BENCH_L3_LEN > end)
		return TC_ACT_SHOT;
	state.next = index + 1 < state.count ? index + 1 : 0;
	__builtin_memcpy(data, state.eth, BENCH_ETH_LEN);
	__builtin_memcpy(data + BENCH_ETH_LEN, frame->l3, BENCH_L3_LEN);
	skb->tc_classid = frame->endpoint;
	skb->mark = 0;
	bpf_tail_call_static(skb, &bench_target, 0);
	return TC_ACT_SHOT;
}

SEC("tc")
int bench_empty(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}

SEC("tc")
int bench_one_hash(struct __sk_buff *skb)
{
	struct bench_key key = {.number = state.next};
	__u64 *value = bpf_map_lookup_elem(&bench_hash, &key);

	if (value)
		found += *value;
	return TC_ACT_OK;
}

/* The next packet waits for what was read: no part of the access is hidden behind other work. */
static __always_inline int read_line(__u32 index)
{
	struct bench_line *line = bpf_map_lookup_elem(&bench_lines, &index);

	if (line)
		state.next += line->zero;
	return TC_ACT_OK;
}

/* All lines in an order that no prefetcher follows. */
SEC("tc")
int bench_one_line(struct __sk_buff *skb)
{
	return read_line((state.next * 0x9e3779b1u) >> 15);
}

/* Few enough lines for a cache to hold, each on a page of its own: 22 elements are 4,224 bytes. */
SEC("tc")
int bench_one_page(struct __sk_buff *skb)
{
	return read_line(((state.next * 0x9e3779b1u) >> 20) * 22);
}

SEC("tc")
int bench_one_insert(struct __sk_buff *skb)
{
	struct bench_key key = {.number = state.next};
	struct bench_entry entry = {.word = state.next};

	bpf_map_update_elem(&bench_half, &key, &entry, BPF_NOEXIST);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
