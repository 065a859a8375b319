/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The datapath's own policy lookup, for tests and measurements. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "lib/policy.h"
#include "lookup.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LOOKUP_QUESTIONS);
	__type(key, __u32);
	__type(value, struct lookup_question);
} lookup_questions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LOOKUP_QUESTIONS);
	__type(key, __u32);
	__type(value, struct lookup_answer);
} lookup_answers SEC(".maps");

__u32 question_count = 1;
__u32 answered;

static __always_inline int one(__u32 index, struct policy_verdict *verdict)
{
	struct lookup_question *question = bpf_map_lookup_elem(&lookup_questions, &index);
	struct policy_query query = {};

	if (!question)
		return POLICY_RACE;
	query.peer = question->peer;
	query.set = question->set;
	query.direction = question->direction;
	query.proto = question->proto;
	query.port = question->port;
	return policy_lookup(&query, verdict);
}

/* Answers every question once. */
SEC("tc")
int answer(struct __sk_buff *skb)
{
	for (__u32 i = 0; i < LOOKUP_QUESTIONS && i < question_count; i++) {
		struct policy_verdict verdict = {};
		struct lookup_answer *answer;
		__u32 index = i;
		int result = one(index, &verdict);

		answer = bpf_map_lookup_elem(&lookup_answers, &index);
		if (!answer)
			return TC_ACT_SHOT;
		answer->result = result;
		answer->rule = verdict.rule;
	}
	return TC_ACT_OK;
}

/* Many lookups, of questions at random. */
SEC("tc")
int measure(struct __sk_buff *skb)
{
	__u32 sum = 0;

	for (int i = 0; i < LOOKUPS_A_RUN; i++) {
		struct policy_verdict verdict = {};

		one(bpf_get_prandom_u32() % question_count, &verdict);
		sum += verdict.rule;
	}
	answered = sum;
	return TC_ACT_OK;
}

/* The same without the lookup: what the loop and the questions cost. */
SEC("tc")
int measure_nothing(struct __sk_buff *skb)
{
	__u32 sum = 0;

	for (int i = 0; i < LOOKUPS_A_RUN; i++) {
		__u32 index = bpf_get_prandom_u32() % question_count;
		struct lookup_question *question = bpf_map_lookup_elem(&lookup_questions, &index);

		if (question)
			sum += question->port + question->peer.w[3];
	}
	answered = sum;
	return TC_ACT_OK;
}

/* The same with one hash lookup in place of the policy's: the measure of things. */
SEC("tc")
int measure_hash(struct __sk_buff *skb)
{
	__u32 sum = 0;

	for (int i = 0; i < LOOKUPS_A_RUN; i++) {
		__u32 index = bpf_get_prandom_u32() % question_count;
		struct lookup_question *question = bpf_map_lookup_elem(&lookup_questions, &index);

		if (question && bpf_map_lookup_elem(&weir_policy_addrs, &question->peer))
			sum++;
	}
	answered = sum;
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
