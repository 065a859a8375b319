// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink/firewall.h"

#include <cerrno>
#include <optional>

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include "datapath/netlink/requests.h"
#include "datapath/netlink/socket.h"

namespace weir::netlink {
namespace {

constexpr uint16_t message_type(uint16_t type) {
    return static_cast<uint16_t>((NFNL_SUBSYS_NFTABLES << 8) | type);
}

std::string_view family_name(uint8_t family) {
    switch (family) {
        case NFPROTO_INET:
            return "inet";
        case NFPROTO_IPV4:
            return "ip";
        case NFPROTO_IPV6:
            return "ip6";
        default:
            return "";
    }
}

/// All of nftables' numbers are in network order.
std::optional<uint32_t> number(const Attributes& attributes, uint16_t type) {
    const auto value = attributes.u32(type);
    return value ? std::optional(ntohl(*value)) : std::nullopt;
}

struct Chain {
    ClosedChain name;
    uint8_t family = 0;
    bool drops = false;  ///< by its policy
};

/// Of a chain that packets to the host itself meet first.
std::optional<Chain> parse_chain(const nlmsghdr* message) {
    if (nlmsg_datalen(message) < static_cast<int>(sizeof(nfgenmsg))) return std::nullopt;
    const auto* header = static_cast<const nfgenmsg*>(nlmsg_data(message));
    const Attributes attributes(message, sizeof *header);
    const auto family = family_name(header->nfgen_family);
    if (family.empty() || !attributes.has(NFTA_CHAIN_HOOK)) return std::nullopt;
    const Attributes hook(attributes.find(NFTA_CHAIN_HOOK));
    if (number(hook, NFTA_HOOK_HOOKNUM) != NF_INET_LOCAL_IN) return std::nullopt;
    return Chain{.name = {.family = std::string(family),
                          .table = attributes.text(NFTA_CHAIN_TABLE),
                          .name = attributes.text(NFTA_CHAIN_NAME)},
                 .family = header->nfgen_family,
                 .drops = number(attributes, NFTA_CHAIN_POLICY) == NF_DROP};
}

/// What becomes of a packet at an expression or rule.
enum class Effect : uint8_t { kNone, kAccepts, kDrops, kOther };

Effect effect_of(const nlattr* element) {
    const Attributes expression(element);
    const std::string name = expression.text(NFTA_EXPR_NAME);
    const Attributes data(expression.find(NFTA_EXPR_DATA));
    if (name == "counter" || name == "log") return Effect::kNone;
    if (name == "reject") return Effect::kDrops;
    if (name == "target") {  // of iptables
        return data.text(NFTA_TARGET_NAME) == "REJECT" ? Effect::kDrops : Effect::kOther;
    }
    if (name != "immediate") return Effect::kOther;
    const Attributes value(data.find(NFTA_IMMEDIATE_DATA));
    const Attributes verdict(value.find(NFTA_DATA_VERDICT));
    const auto code = number(verdict, NFTA_VERDICT_CODE);
    if (code == NF_ACCEPT) return Effect::kAccepts;
    return code == NF_DROP ? Effect::kDrops : Effect::kOther;
}

/// Of every packet, whatever it is; kOther if it depends.
Effect effect_of_rule(const nlmsghdr* message) {
    const Attributes attributes(message, sizeof(nfgenmsg));
    const nlattr* const list = attributes.find(NFTA_RULE_EXPRESSIONS);
    if (list == nullptr) return Effect::kNone;
    int left = nla_len(list);
    const auto* at = static_cast<const nlattr*>(nla_data(list));
    for (; nla_ok(at, left); at = nla_next(at, &left)) {
        const Effect effect = effect_of(at);
        if (effect != Effect::kNone) return effect;
    }
    return Effect::kNone;
}

Message list_chains() {
    return std::move(Message(message_type(NFT_MSG_GETCHAIN), 0, "list the chains of nftables")
                         .header(nfgenmsg{.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0}));
}

Message list_rules(const Chain& chain) {
    return std::move(
        Message(message_type(NFT_MSG_GETRULE), 0, "list the rules of " + chain.name.name)
            .header(nfgenmsg{.nfgen_family = chain.family, .version = NFNETLINK_V0})
            .put_string(NFTA_RULE_TABLE, chain.name.table)
            .put_string(NFTA_RULE_CHAIN, chain.name.name));
}

/// The first rule that takes every packet decides, else the policy.
Result<bool> is_closed(Socket& socket, const Chain& chain) {
    std::optional<bool> closed;
    WEIR_CHECK(socket.dump(
        list_rules(chain), [&] { closed.reset(); },
        [&](const nlmsghdr* message) {
            const Effect effect = closed ? Effect::kOther : effect_of_rule(message);
            if (effect == Effect::kAccepts || effect == Effect::kDrops) {
                closed = effect == Effect::kDrops;
            }
        }));
    return closed.value_or(chain.drops);
}

/// No nftables in this kernel.
bool is_absent(const Error& error) {
    return error.os_errno() == EPROTONOSUPPORT || error.os_errno() == EINVAL ||
           error.os_errno() == EOPNOTSUPP;
}

}  // namespace

Result<std::vector<ClosedChain>> closed_input_chains() {
    auto socket = Socket::open_netfilter();
    if (!socket && is_absent(socket.error())) return std::vector<ClosedChain>();
    if (!socket) return Failure(std::move(socket).error());
    std::vector<Chain> chains;
    const auto dumped = socket->dump(
        list_chains(), [&] { chains.clear(); },
        [&](const nlmsghdr* message) {
            if (auto chain = parse_chain(message)) chains.push_back(*std::move(chain));
        });
    if (!dumped && is_absent(dumped.error())) return std::vector<ClosedChain>();
    WEIR_CHECK(dumped);
    std::vector<ClosedChain> closed;
    for (Chain& chain : chains) {
        if (WEIR_TRY(is_closed(*socket, chain))) closed.push_back(std::move(chain.name));
    }
    return closed;
}

}  // namespace weir::netlink
