/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stands before libbpf's header of this name when BPF C is compiled for the host: the same macros
 * and helpers, the helpers being functions of tests/native/host. What is missing here is missing
 * there: add both.
 */
#ifndef WEIR_NATIVE_BPF_HELPERS_H
#define WEIR_NATIVE_BPF_HELPERS_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <stddef.h>

#define SEC(name) __attribute__((used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val)* name
#define __array(name, val) typeof(val)* name[]

#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif
#ifndef __weak
#define __weak __attribute__((weak))
#endif
#define __hidden
#define __ksym
#define barrier() asm volatile("" ::: "memory")
#define barrier_var(var) asm volatile("" : "+r"(var))
#define bpf_printk(fmt, ...) ((void)0)

/* A name of its own for the linker: libbpf exports functions called as some helpers are. */
#define WEIR_HOST(ret, name, ...) ret name(__VA_ARGS__) __asm__("weir_host_" #name)

/* maps */
WEIR_HOST(void*, bpf_map_lookup_elem, const void* map, const void* key);
WEIR_HOST(long, bpf_map_update_elem, const void* map, const void* key, const void* value,
          __u64 flags);
WEIR_HOST(long, bpf_map_delete_elem, const void* map, const void* key);
WEIR_HOST(long, bpf_for_each_map_elem, const void* map, void* callback, void* ctx, __u64 flags);
WEIR_HOST(long, bpf_loop, __u32 count, void* callback, void* ctx, __u64 flags);
WEIR_HOST(void*, bpf_ringbuf_reserve, const void* map, __u64 size, __u64 flags);
WEIR_HOST(void, bpf_ringbuf_submit, void* data, __u64 flags);
WEIR_HOST(void, bpf_ringbuf_discard, void* data, __u64 flags);
WEIR_HOST(long, bpf_ringbuf_output, const void* map, void* data, __u64 size, __u64 flags);
WEIR_HOST(__u64, bpf_ringbuf_query, const void* map, __u64 flags);
WEIR_HOST(long, bpf_tail_call, void* ctx, const void* map, __u32 index);
#define bpf_tail_call_static(ctx, map, slot) bpf_tail_call(ctx, map, slot)
WEIR_HOST(long, bpf_timer_init, struct bpf_timer* timer, const void* map, __u64 flags);
WEIR_HOST(long, bpf_timer_set_callback, struct bpf_timer* timer, void* callback);
WEIR_HOST(long, bpf_timer_start, struct bpf_timer* timer, __u64 ns, __u64 flags);
WEIR_HOST(long, bpf_timer_cancel, struct bpf_timer* timer);
WEIR_HOST(void, bpf_spin_lock, struct bpf_spin_lock* lock);
WEIR_HOST(void, bpf_spin_unlock, struct bpf_spin_lock* lock);

/* time, chance, place */
WEIR_HOST(__u64, bpf_ktime_get_ns, void);
WEIR_HOST(__u64, bpf_ktime_get_boot_ns, void);
WEIR_HOST(__u64, bpf_ktime_get_coarse_ns, void);
WEIR_HOST(__u64, bpf_jiffies64, void);
WEIR_HOST(__u32, bpf_get_prandom_u32, void);
WEIR_HOST(__u32, bpf_get_smp_processor_id, void);

/* packets */
WEIR_HOST(long, bpf_skb_load_bytes, const void* skb, __u32 offset, void* to, __u32 len);
WEIR_HOST(long, bpf_skb_store_bytes, struct __sk_buff* skb, __u32 offset, const void* from,
          __u32 len, __u64 flags);
WEIR_HOST(long, bpf_skb_pull_data, struct __sk_buff* skb, __u32 len);
WEIR_HOST(long, bpf_skb_change_tail, struct __sk_buff* skb, __u32 len, __u64 flags);
WEIR_HOST(long, bpf_skb_change_head, struct __sk_buff* skb, __u32 len, __u64 flags);
WEIR_HOST(long, bpf_skb_adjust_room, struct __sk_buff* skb, __s32 difference, __u32 mode,
          __u64 flags);
WEIR_HOST(long, bpf_skb_change_type, struct __sk_buff* skb, __u32 type);
WEIR_HOST(long, bpf_l3_csum_replace, struct __sk_buff* skb, __u32 offset, __u64 from, __u64 to,
          __u64 size);
WEIR_HOST(long, bpf_l4_csum_replace, struct __sk_buff* skb, __u32 offset, __u64 from, __u64 to,
          __u64 flags);
WEIR_HOST(__s64, bpf_csum_diff, __be32* from, __u32 from_size, __be32* to, __u32 to_size,
          __wsum seed);
WEIR_HOST(__s64, bpf_csum_update, struct __sk_buff* skb, __wsum csum);
WEIR_HOST(long, bpf_csum_level, struct __sk_buff* skb, __u64 level);
WEIR_HOST(void, bpf_set_hash_invalid, struct __sk_buff* skb);
WEIR_HOST(__u32, bpf_get_hash_recalc, struct __sk_buff* skb);
WEIR_HOST(long, bpf_redirect, __u32 ifindex, __u64 flags);
WEIR_HOST(long, bpf_redirect_peer, __u32 ifindex, __u64 flags);
WEIR_HOST(long, bpf_redirect_neigh, __u32 ifindex, struct bpf_redir_neigh* params, int size,
          __u64 flags);
WEIR_HOST(long, bpf_clone_redirect, struct __sk_buff* skb, __u32 ifindex, __u64 flags);
WEIR_HOST(long, bpf_fib_lookup, void* ctx, struct bpf_fib_lookup* params, int size, __u32 flags);
WEIR_HOST(long, bpf_skb_get_tunnel_key, struct __sk_buff* skb, struct bpf_tunnel_key* key,
          __u32 size, __u64 flags);
WEIR_HOST(long, bpf_skb_set_tunnel_key, struct __sk_buff* skb, struct bpf_tunnel_key* key,
          __u32 size, __u64 flags);
WEIR_HOST(long, bpf_check_mtu, void* ctx, __u32 ifindex, __u32* mtu, __s32 difference, __u64 flags);

/* sockets */
WEIR_HOST(__u64, bpf_get_socket_cookie, void* ctx);
WEIR_HOST(__u64, bpf_get_netns_cookie, void* ctx);
WEIR_HOST(int, bpf_set_retval, int value);
WEIR_HOST(struct bpf_sock*, bpf_skc_lookup_tcp, void* ctx, struct bpf_sock_tuple* tuple, __u32 size,
          __u64 netns, __u64 flags);
WEIR_HOST(struct bpf_sock*, bpf_sk_lookup_tcp, void* ctx, struct bpf_sock_tuple* tuple, __u32 size,
          __u64 netns, __u64 flags);
WEIR_HOST(struct bpf_sock*, bpf_sk_lookup_udp, void* ctx, struct bpf_sock_tuple* tuple, __u32 size,
          __u64 netns, __u64 flags);
WEIR_HOST(long, bpf_sk_release, void* sock);

#endif
