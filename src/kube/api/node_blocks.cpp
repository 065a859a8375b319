// SPDX-License-Identifier: Apache-2.0
#include "kube/api/node_blocks.h"

#include <algorithm>

#include <boost/json.hpp>

#include "common/log.h"
#include "common/rfc3339.h"
#include "kube/api/lease.h"
#include "kube/cursor.h"
#include "kube/json_parser.h"

namespace weir::kube::api {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;

constexpr int kNotFound = 404;
constexpr int kConflict = 409;
constexpr int kInvalid = 422;
constexpr std::string_view kBlock = "weir.io/block";
constexpr std::string_view kSelector = "?labelSelector=weir.io%2Fblock";
/// Blocks that others take at the same moment, before a look at all of them is due.
constexpr int kMaxLost = 16;
constexpr std::chrono::seconds kRetry = 2s;

}  // namespace

std::string block_lease(const IpPrefix& block) {
    std::string name = "weir-block-" + block.to_string();
    std::ranges::replace(name, ':', '-');
    std::ranges::replace(name, '/', '-');
    return name;
}

NodeBlocks::NodeBlocks(asio::io_context& io, Session& session, std::string ns, BlockOptions options,
                       Hooks hooks)
    : ns_(std::move(ns)),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      caller_(session),
      timer_(io) {}

void NodeBlocks::set_nodes(std::vector<NodeRanges> nodes) {
    nodes_.clear();
    for (auto& node : nodes) {
        std::string name = node.name;
        nodes_.emplace(std::move(name), std::move(node));
    }
    nodes_known_ = true;
    changed_ = true;
    timer_.cancel();
}

void NodeBlocks::set_pods(std::vector<IpAddress> addresses) {
    pods_ = std::move(addresses);
    wants_pods_ = false;
    changed_ = true;
    timer_.cancel();
}

BlockState NodeBlocks::state() const {
    const std::lock_guard lock(mutex_);
    return state_;
}

asio::awaitable<void> NodeBlocks::run() {
    for (auto delay = options_.look;;) {
        if (!std::exchange(changed_, false)) {
            timer_.expires_after(delay);
            co_await timer_.async_wait(kTuple);
        }
        delay = options_.look;
        if (!nodes_known_ || !hooks_.leading()) {
            // When a Node was last seen is not known of a time in which others looked.
            left_since_.clear();
            delay = kRetry;
            continue;
        }
        trouble_.clear();
        const auto done = co_await round();
        if (!done) delay = kRetry;
        show(done ? trouble_ : done.error().message());
    }
}

void NodeBlocks::show(std::string error) {
    const std::lock_guard lock(mutex_);
    if (!error.empty() && error != state_.error) log::warn("pod ranges of Nodes: {}", error);
    state_.error = std::move(error);
}

/// Every write is the elected one's. One that is late all the same takes nothing from anybody: a
/// block is claimed once, and a Node's ranges are written once.
Task<Reply> NodeBlocks::call(HttpRequest request) {
    if (request.method != "GET" && !hooks_.leading()) {
        co_return fail(Errc::kUnavailable, "this agent is not elected any more");
    }
    co_return co_await caller_.call(std::move(request));
}

Task<> NodeBlocks::round() {
    WEIR_CO_CHECK(co_await read_claims());
    options_.source->clear();
    for (const auto& [lease, claim] : claims_)
        options_.source->taken(claim.block);
    for (const auto& [name, node] : nodes_) {
        for (const auto& range : node.ranges)
            options_.source->taken(range);
    }
    const auto nodes = nodes_;  // they may be others before this round ends
    for (const auto& [name, node] : nodes) {
        if (node.ranges.empty()) {
            WEIR_CO_CHECK(co_await give(node));
        } else {
            WEIR_CO_CHECK(co_await adopt(node));
        }
    }
    co_return co_await free_old();
}

Task<> NodeBlocks::read_claims() {
    HttpRequest request;
    request.target = lease_path(ns_) + std::string(kSelector);
    const auto reply = WEIR_CO_TRY(co_await call(std::move(request)));
    if (!reply.ok()) co_return fail(Errc::kUnavailable, "{}", reply.text());
    claims_.clear();
    held_.clear();
    TextPool pool;
    const auto error = parse_json(reply.body, 1, [&](const Tree& tree) {
        Report report(pool);
        for (const Cursor& item : Cursor(tree, 0, report)["items"].items()) {
            const Cursor meta = item["metadata"];
            const auto block = meta["annotations"][kBlock].prefix();
            if (!block) continue;
            Claim claim{
                .lease = std::string(meta["name"].string().value_or("")),
                .uid = std::string(meta["uid"].string().value_or("")),
                .resource_version = std::string(meta["resourceVersion"].string().value_or("")),
                .node = std::string(item["spec"]["holderIdentity"].string().value_or("")),
                .block = *block};
            add_claim(std::move(claim));
        }
    });
    if (error) co_return fail(Errc::kInvalid, "the list of Leases: {}", error->message);
    co_return Result<void>();
}

void NodeBlocks::add_claim(Claim claim) {
    if (options_.source->holds(claim.block)) {
        held_.emplace(std::pair(claim.node, claim.block.family()), claim.lease);
    }
    std::string lease = claim.lease;
    claims_.insert_or_assign(std::move(lease), std::move(claim));
}

/// A Node that is made anew under its name has its block again. That is written, so that an agent
/// which is late to free it does not.
Task<bool> NodeBlocks::touch(const Claim& claim) {
    if (claim.uid.empty()) co_return true;  // of this round
    HttpRequest request;
    request.method = "PATCH";
    request.target = fmt::format("{}/{}", lease_path(ns_), claim.lease);
    request.content_type = "application/merge-patch+json";
    request.body = json::serialize(json::object{
        {"metadata", {{"uid", claim.uid}, {"resourceVersion", claim.resource_version}}},
        {"spec", {{"renewTime", rfc3339_micros(std::chrono::system_clock::now())}}}});
    const auto reply = WEIR_CO_TRY(co_await call(std::move(request)));
    if (reply.status == kNotFound) co_return false;
    if (!reply.ok()) co_return fail(Errc::kUnavailable, "Lease {}: {}", claim.lease, reply.text());
    co_return true;
}

/// Ranges that a Node had before there was a record of them.
Task<> NodeBlocks::adopt(const NodeRanges& node) {
    for (const IpPrefix& range : node.ranges) {
        if (!options_.source->holds(range)) continue;
        const auto known = claims_.find(block_lease(range));
        if (known == claims_.end()) {
            WEIR_CO_CHECK(co_await claim(range, node.name));
        } else if (known->second.node != node.name && nodes_.contains(known->second.node)) {
            complain(
                node, "PodRangeTaken",
                fmt::format("{} belongs to Node {}; delete and re-create this Node, so that it "
                            "gets another one",
                            range.to_string(), known->second.node));
        }
    }
    co_return Result<void>();
}

Task<bool> NodeBlocks::claim(const IpPrefix& block, const std::string& node) {
    const std::string name = block_lease(block);
    HttpRequest request;
    request.method = "POST";
    request.target = lease_path(ns_);
    request.content_type = "application/json";
    request.body = json::serialize(
        json::object{{"apiVersion", "coordination.k8s.io/v1"},
                     {"kind", "Lease"},
                     {"metadata",
                      {{"name", name},
                       {"namespace", ns_},
                       {"labels", {{kBlock, block.family() == Family::kIpv4 ? "ipv4" : "ipv6"}}},
                       {"annotations", {{kBlock, block.to_string()}}}}},
                     {"spec",
                      {{"holderIdentity", node},
                       {"acquireTime", rfc3339_micros(std::chrono::system_clock::now())}}}});
    const auto reply = WEIR_CO_TRY(co_await call(std::move(request)));
    if (reply.status == kConflict) co_return false;
    if (!reply.ok()) co_return fail(Errc::kUnavailable, "Lease {}: {}", name, reply.text());
    add_claim({.lease = name, .uid = {}, .resource_version = {}, .node = node, .block = block});
    options_.source->taken(block);
    co_return true;
}

Task<IpPrefix> NodeBlocks::block_for(const NodeRanges& node, Family family) {
    if (const auto held = held_.find({node.name, family}); held != held_.end()) {
        const Claim claim = claims_.at(held->second);
        if (WEIR_CO_TRY(co_await touch(claim))) co_return claim.block;
    }
    for (int lost = 0; lost < kMaxLost; ++lost) {
        const auto block = options_.source->pick(family);
        if (!block) co_return Failure(block.error());
        if (WEIR_CO_TRY(co_await claim(*block, node.name))) co_return *block;
        options_.source->taken(*block);
    }
    co_return fail(Errc::kUnavailable, "another agent takes blocks at the same time");
}

Task<> NodeBlocks::give(const NodeRanges& node) {
    std::vector<IpPrefix> blocks;
    for (const Family family : options_.source->families()) {
        const auto block = co_await block_for(node, family);
        if (!block && block.error().code() == Errc::kExhausted) {
            complain(node, "PodRangeExhausted", block.error().message());
            co_return Result<void>();  // others may need the other family only
        }
        if (!block) co_return Failure(block.error());
        blocks.push_back(*block);
    }
    co_return co_await tell_node(node, blocks);
}

/// Refused by the server if the Node has ranges by now; by the test, if it is another Node.
Task<> NodeBlocks::tell_node(const NodeRanges& node, const std::vector<IpPrefix>& blocks) {
    json::array ranges;
    for (const IpPrefix& block : blocks)
        ranges.emplace_back(block.to_string());
    const json::value first = ranges.front();
    HttpRequest request;
    request.method = "PATCH";
    request.target = "/api/v1/nodes/" + node.name;
    request.content_type = "application/json-patch+json";
    request.body = json::serialize(json::array{
        json::object{{"op", "test"}, {"path", "/metadata/uid"}, {"value", node.uid}},
        json::object{{"op", "add"}, {"path", "/spec/podCIDR"}, {"value", first}},
        json::object{{"op", "add"}, {"path", "/spec/podCIDRs"}, {"value", std::move(ranges)}}});
    const auto reply = WEIR_CO_TRY(co_await call(std::move(request)));
    const bool changed =
        reply.status == kNotFound || reply.status == kConflict || reply.status == kInvalid;
    if (changed) {
        log::info("Node {} has changed meanwhile: {}", node.name, reply.text());
        co_return Result<void>();  // seen in the next round
    }
    if (!reply.ok()) co_return fail(Errc::kUnavailable, "Node {}: {}", node.name, reply.text());
    std::string text;
    for (const IpPrefix& block : blocks)
        text += " " + block.to_string();
    log::info("Node {} gets{}", node.name, text);
    // What is known of it until it is read anew.
    const auto known = nodes_.find(node.name);
    if (known != nodes_.end() && known->second.uid == node.uid) known->second.ranges = blocks;
    const std::lock_guard lock(mutex_);
    ++state_.given;
    co_return Result<void>();
}

void NodeBlocks::complain(const NodeRanges& node, std::string_view reason, const std::string& why) {
    trouble_ = fmt::format("Node {}: {}", node.name, why);
    hooks_.note(
        {.regarding =
             {.api_version = "v1", .kind = "Node", .ns = {}, .name = node.name, .uid = node.uid},
         .reason = std::string(reason),
         .action = "Assigning",
         .text = "spec.podCIDRs: " + why,
         .warning = true,
         .of_cluster = true});
}

/// A Node of the holder's name has it, or may still be given it.
bool NodeBlocks::in_use(const Claim& claim) const {
    const auto node = nodes_.find(claim.node);
    if (node == nodes_.end()) return false;
    const auto& ranges = node->second.ranges;
    return ranges.empty() || std::ranges::find(ranges, claim.block) != ranges.end();
}

Task<> NodeBlocks::free_old() {
    const auto now = Clock::now();
    std::vector<Claim> old;
    std::map<std::string, Clock::time_point> left;
    for (const auto& [lease, claim] : claims_) {
        if (in_use(claim) || claim.uid.empty()) continue;
        const auto known = left_since_.find(claim.uid);
        const auto since = known == left_since_.end() ? now : known->second;
        left.emplace(claim.uid, since);
        if (now - since >= options_.rest) old.push_back(claim);
    }
    left_since_ = std::move(left);
    if (old.empty()) co_return Result<void>();
    if (!pods_) {
        wants_pods_ = true;
        co_return Result<void>();
    }
    const auto pods = *std::exchange(pods_, std::nullopt);
    for (const Claim& claim : old) {
        const auto first = std::ranges::lower_bound(pods, claim.block.address());
        if (first != pods.end() && claim.block.contains(*first)) continue;
        WEIR_CO_CHECK(co_await free(claim));
    }
    co_return Result<void>();
}

Task<bool> NodeBlocks::node_exists(const std::string& name) {
    HttpRequest request;
    request.target = "/api/v1/nodes?fieldSelector=metadata.name%3D" + name;
    const auto reply = WEIR_CO_TRY(co_await call(std::move(request)));
    if (!reply.ok()) co_return fail(Errc::kUnavailable, "Node {}: {}", name, reply.text());
    size_t count = 0;
    TextPool pool;
    const auto error = parse_json(reply.body, 1, [&](const Tree& tree) {
        Report report(pool);
        count = Cursor(tree, 0, report)["items"].items().size();
    });
    if (error) co_return fail(Errc::kInvalid, "the list of Nodes: {}", error->message);
    co_return count > 0;
}

/// What this agent was told of Nodes may be old: the server is asked. A Lease that somebody has
/// written since stays.
Task<> NodeBlocks::free(const Claim& claim) {
    if (!nodes_.contains(claim.node) && WEIR_CO_TRY(co_await node_exists(claim.node))) {
        co_return Result<void>();
    }
    HttpRequest request;
    request.method = "DELETE";
    request.target = fmt::format("{}/{}", lease_path(ns_), claim.lease);
    request.content_type = "application/json";
    request.body = json::serialize(json::object{
        {"apiVersion", "v1"},
        {"kind", "DeleteOptions"},
        {"preconditions", {{"uid", claim.uid}, {"resourceVersion", claim.resource_version}}}});
    const auto reply = WEIR_CO_TRY(co_await call(std::move(request)));
    if (reply.status == kNotFound || reply.status == kConflict) co_return Result<void>();
    if (!reply.ok()) co_return fail(Errc::kUnavailable, "Lease {}: {}", claim.lease, reply.text());
    log::info("block {} is free: its Node {} is gone, and no pod has an address of it",
              claim.block.to_string(), claim.node);
    left_since_.erase(claim.uid);
    changed_ = true;  // a Node may wait for it
    const std::lock_guard lock(mutex_);
    ++state_.freed;
    co_return Result<void>();
}

}  // namespace weir::kube::api
