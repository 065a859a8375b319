/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Enforcement of policy: both local ends of a flow are asked about by its first packet, before the
 * flow gets an entry, and, when the policies of an end have changed, by whichever packet comes next
 * in either direction. In between, the epoch in the flow's entry says that nothing has changed.
 *
 * Asked about is the original direction: the client as it was before its source was translated, the
 * backend that was chosen. Replies need no rule of their own.
 */
#ifndef WEIR_LIB_ENFORCE_H
#define WEIR_LIB_ENFORCE_H

#include "conntrack.h"
#include "context.h"
#include "event.h"
#include "forward.h"
#include "new_flow.h"
#include "policy.h"

/* A flow as policies see it. */
struct policed {
	struct weir_addr client, backend;
	__be16 port; /* of the backend */
	__u8 proto;
	__u8 of_host;	   /* the client is a process of this host */
	__u32 endpoint[2]; /* of client and backend, 0: not a pod of this node */
	struct weir_ct_verdict verdict[2];
};

/* Of one end. */
struct judgement {
	struct policy_query query; /* all but the set */
	__u32 endpoint;
	__u32 exempt; /* whatever its policies are */
	struct weir_ct_verdict verdict;
};

static __always_inline void policy_hit(__u32 counter)
{
	struct weir_policy_hits *hits = bpf_map_lookup_elem(&weir_policy_hits, &counter);

	if (hits && writes_allowed())
		hits->flows++;
}

/* Asks again if the endpoint's word changed under the lookup. The word for which it was asked. */
static __always_inline int judge_word(const struct weir_endpoint *ep, bool exempt,
				      struct policy_query *query, struct policy_verdict *found,
				      __u64 *word)
{
	int result;

	for (int try = 0; try < 2; try++) {
		*word = policy_word(ep);
		query->set = WEIR_POLICY_WORD_SET(*word);
		if (exempt || query->set == WEIR_POLICY_SET_NONE)
			return POLICY_ACCEPTED;
		if (query->set == WEIR_POLICY_SET_CLOSED)
			return POLICY_DENIED;
		result = policy_lookup(query, found);
		if (result != POLICY_RACE && policy_word(ep) == *word)
			return result;
	}
	return POLICY_RACE;
}

/* Does this end let the flow pass? Returns a drop reason, 0: it does. */
__global int judge(struct weir_ctx *ctx, struct judgement *j)
{
	struct policy_verdict found = {.rule = WEIR_POLICY_NO_RULE}, would = {};
	struct policy_query query;
	struct weir_endpoint *ep;
	__u64 word = 0;
	int result;
	__u32 id;

	if (!ctx || !j)
		return WEIR_DROP_INTERNAL;
	id = j->endpoint;
	query = j->query;
	ep = bpf_map_lookup_elem(&weir_endpoints, &id);
	if (!ep)
		return WEIR_DROP_INTERNAL;
	result = judge_word(ep, j->exempt, &query, &found, &word);
	if (result == POLICY_RACE)
		return WEIR_DROP_POLICY_RACE;
	j->verdict.epoch = WEIR_POLICY_WORD_EPOCH(word);
	j->verdict.set = query.set;
	j->verdict.rule = found.rule;
	if (j->exempt || query.set == WEIR_POLICY_SET_NONE)
		return 0;
	if (query.set == WEIR_POLICY_SET_CLOSED)
		return WEIR_DROP_POLICY_CLOSED;
	policy_hit(found.counter);
	if (result == POLICY_ACCEPTED) {
		if (policy_would_deny(&query, &found, &would))
			policy_hit(would.counter);
		return 0;
	}
	if (WEIR_POLICY_WORD_FLAGS(word) & WEIR_POLICY_WORD_AUDIT)
		return 0;
	ctx->rule = WEIR_EVENT_RULE(query.set, found.rule);
	ctx->rejects = !!(WEIR_POLICY_WORD_FLAGS(word) & WEIR_POLICY_WORD_REJECT);
	return query.direction == WEIR_POLICY_EGRESS ? WEIR_DROP_POLICY_DENIED_EGRESS
						     : WEIR_DROP_POLICY_DENIED_INGRESS;
}

/*
 * Both ends. A pod and the host that it is on: no policy keeps the host from the pod, and no
 * NetworkPolicy the pod from the host. A pod and itself, by way of a Service: no NetworkPolicy.
 */
__global int police(struct weir_ctx *ctx, struct policed *flow)
{
	struct judgement j = {};
	int reason;
	bool self;

	if (!ctx || !flow)
		return WEIR_DROP_INTERNAL;
	self = addr_equal(&flow->client, &flow->backend);
	j.query.proto = flow->proto;
	j.query.port = bpf_ntohs(flow->port);
	if (flow->endpoint[0]) {
		j.endpoint = flow->endpoint[0];
		j.query.peer = flow->backend;
		j.query.direction = WEIR_POLICY_EGRESS;
		if (self || is_node_addr(ctx, &flow->backend))
			j.query.flags = POLICY_QUERY_SELF;
		reason = judge(ctx, &j);
		if (reason)
			return reason;
		flow->verdict[0] = j.verdict;
	}
	if (!flow->endpoint[1])
		return 0;
	j.endpoint = flow->endpoint[1];
	j.query.peer = flow->client;
	j.query.direction = WEIR_POLICY_INGRESS;
	j.query.flags = self ? POLICY_QUERY_SELF : 0;
	j.exempt = flow->of_host;
	reason = judge(ctx, &j);
	flow->verdict[1] = j.verdict;
	return reason;
}

static __always_inline int policy_denied(struct __sk_buff *skb, struct weir_ctx *ctx, int reason)
{
	if (ctx->rejects && ctx->hook != WEIR_HOOK_POD_TO)
		return answer(skb, ctx, reason, ANSWER_PROHIBITED, 0);
	return account_drop(skb, ctx, reason);
}

/* Of a flow that begins, whose ends are known by now: the scratch's first entry. */
__global int police_new(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct weir_scratch *s = scratch();
	struct policed flow = {};
	int reason;

	if (!ctx || !s)
		return TC_ACT_SHOT;
	flow.client = ctx->t.saddr;
	flow.backend = ctx->n.daddr;
	flow.port = ctx->n.dport;
	flow.proto = ctx->proto;
	flow.of_host = !!(s->ct[0].origin & WEIR_CT_OF_HOST);
	flow.endpoint[0] = s->ct[0].endpoint[0];
	flow.endpoint[1] = s->ct[0].endpoint[1];
	reason = police(ctx, &flow);
	if (reason) {
		/* the report names the backend */
		ctx->rewrite = !addr_equal(&ctx->n.daddr, &ctx->t.daddr);
		return policy_denied(skb, ctx, reason);
	}
	s->ct[0].verdict[0] = flow.verdict[0];
	s->ct[0].verdict[1] = flow.verdict[1];
	return PASS;
}

/* Of a flow that an older build began it is told by its address. */
static __always_inline bool is_of_host(const struct weir_ctx *ctx, const struct weir_ct *ct,
				       const struct weir_addr *client)
{
	if (ct->origin)
		return ct->origin & WEIR_CT_OF_HOST;
	return ct->flags & WEIR_CT_FROM_HOST && is_node_addr(ctx, client);
}

/* The ends of a tracked flow, from a packet of either direction and either of its entries. */
static __always_inline void ends_of(struct policed *flow, const struct weir_ctx *ctx,
				    const struct weir_ct *ct)
{
	flow->client = ctx->reply ? ctx->t.daddr : ctx->t.saddr;
	flow->backend = ctx->reply ? ctx->t.saddr : ctx->t.daddr;
	flow->port = ctx->reply ? ctx->t.sport : ctx->t.dport;
	if (ct->flags & WEIR_CT_REWRITE_REPLY) {
		flow->client = ct->nat_addr[1];
	} else if (ct->flags & WEIR_CT_REWRITE_ORIG) {
		flow->backend = ct->nat_addr[1];
		flow->port = ct->nat_port[1];
	}
	flow->proto = ctx->proto;
	flow->of_host = is_of_host(ctx, ct, &flow->client);
	flow->endpoint[0] = pod_at(&flow->client);
	flow->endpoint[1] = pod_at(&flow->backend);
}

/* Of a tracked flow: PASS, and the entry knows it, or what becomes of the packet. */
__global int police_again(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct policed flow = {};
	union weir_key key;
	struct weir_ct *ct;
	int reason;

	if (!ctx)
		return TC_ACT_SHOT;
	key = ctx->key; /* on the stack: see __global */
	ct = ctx->half ? half_find(&key, ctx->hash, ctx->v6) : NULL;
	if (!ct) /* this very packet may have been the first reply */
		ct = est_find(&key, ctx->hash, ctx->v6);
	if (!ct)
		return ctx->frag == FRAG_LATER ? drop(ctx, FRAGMENT_MISS) : STAGE(NEW_FLOW);
	ends_of(&flow, ctx, ct);
	reason = police(ctx, &flow);
	if (reason)
		return policy_denied(skb, ctx, reason);
	ctx->epoch = ctx->reply ? flow.verdict[0].epoch : flow.verdict[1].epoch;
	if (writes_allowed() && ct->check == ctx->hash) {
		ct->verdict[0] = flow.verdict[0];
		ct->verdict[1] = flow.verdict[1];
	}
	return PASS;
}

#endif
