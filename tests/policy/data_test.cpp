// SPDX-License-Identifier: Apache-2.0
// The cookbook: each file in data/ is one behaviour, with a table of flows in its comments (=> is
// through a Service, and names what was chosen of it). The reference, the tables and explain() must
// all say what the table says.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "kube/decode.h"
#include "policy/explain.h"
#include "policy/rig.h"

namespace weir::policy::test {
namespace {

constexpr std::string_view kFlow = "# flow: ";
const IpAddress kNode = IpAddress::v4(0xac120002);

std::string read(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

void add(World& world, const kube::Object& object) {
    const model::ObjectName name = kube::meta_of(object).name;
    if (const auto* pod = std::get_if<model::Pod>(&object)) world.pods.emplace(name, *pod);
    if (const auto* ns = std::get_if<model::Namespace>(&object))
        world.namespaces.emplace(name, *ns);
    if (const auto* node = std::get_if<model::Node>(&object)) world.nodes.emplace(name, *node);
    if (const auto* policy = std::get_if<model::NetworkPolicy>(&object))
        world.network_policies.emplace(name, *policy);
    if (const auto* policy = std::get_if<model::ClusterNetworkPolicy>(&object))
        world.cluster_policies.emplace(name, *policy);
}

void load(World& world, const std::filesystem::path& path) {
    kube::TextPool pool;
    const auto file = kube::decode(read(path), pool);
    for (const auto& problem : file.problems)
        ADD_FAILURE() << path << ": " << problem.to_string();
    for (const auto& decoded : file.objects)
        add(world, decoded.object);
}

/// All pods are of this node.
World load_world(const std::filesystem::path& path) {
    World world;
    load(world, path.parent_path() / "cluster.yaml");
    load(world, path);
    uint32_t id = 0;
    for (const auto& [name, pod] : world.pods) {
        if (!pod.host_network && !pod.finished())
            world.local.emplace(
                ++id, LocalPod{.pod = name, .addresses = {pod.ips.begin(), pod.ips.end()}});
    }
    return world;
}

struct Row {
    std::string text;
    std::string source;
    std::string target;
    Flow flow;
    bool allow = false;
};

/// The address of "namespace/pod" in a family, of "node", or an address itself.
IpAddress resolve(const World& world, const std::string& end, Family family) {
    if (end == "node") return kNode;
    const size_t slash = end.find('/');
    if (slash == std::string::npos) return IpAddress::parse(end).value();
    for (const IpAddress& ip :
         world.pods.at({.ns = end.substr(0, slash), .name = end.substr(slash + 1)}).ips) {
        if (ip.family() == family) return ip;
    }
    throw std::runtime_error(end + " has no such address");
}

uint8_t protocol_of(const std::string& word) {
    return word == "ICMP" ? uint8_t{1} : static_cast<uint8_t>(model::parse_protocol(word).value());
}

std::vector<Row> read_rows(const World& world, const std::filesystem::path& path) {
    std::vector<Row> out;
    std::istringstream text(read(path));
    for (std::string line; std::getline(text, line);) {
        if (!line.starts_with(kFlow)) continue;
        std::istringstream words(line.substr(kFlow.size()));
        Row row{.text = line};
        std::string arrow;
        std::string port;
        std::string verdict;
        words >> row.source >> arrow >> row.target >> port >> verdict;
        EXPECT_TRUE((arrow == "->" || arrow == "=>") && (verdict == "allow" || verdict == "deny"))
            << line;
        const bool six = (row.source + row.target).find(':') != std::string::npos;
        const Family family = six ? Family::kIpv6 : Family::kIpv4;
        row.allow = verdict == "allow";
        row.flow.source = resolve(world, row.source, family);
        row.flow.destination = resolve(world, row.target, family);
        row.flow.from_host = row.source == "node";
        row.flow.through_service = arrow == "=>";
        const size_t slash = port.find('/');
        row.flow.protocol = protocol_of(port.substr(0, slash));
        if (slash != std::string::npos)
            row.flow.port = static_cast<uint16_t>(std::stoi(port.substr(slash + 1)));
        out.push_back(std::move(row));
    }
    return out;
}

/// An end of a flow that is asked: a local pod that is not talking to its own address or its node.
struct End {
    uint32_t endpoint;
    Question question;
};

std::vector<End> ends(const World& world, const Flow& flow) {
    std::vector<End> out;
    const bool self = flow.source == flow.destination;
    if (self && !flow.through_service) return out;
    for (const auto& [id, local] : world.local) {
        const auto has = [&](const IpAddress& address) {
            return std::ranges::find(local.addresses, address) != local.addresses.end();
        };
        if (!flow.from_host && has(flow.source) && flow.destination != kNode)
            out.push_back(
                {id, {local.pod, true, flow.destination, flow.protocol, flow.port, self}});
        if (!flow.from_host && has(flow.destination))
            out.push_back({id, {local.pod, false, flow.source, flow.protocol, flow.port, self}});
    }
    return out;
}

bool explained(const World& world, const Rig& rig, const End& end) {
    PeerView peer{.address = end.question.peer};
    for (const auto& [name, pod] : world.pods) {
        if (pod.host_network || pod.finished()) continue;
        if (std::ranges::find(pod.ips, peer.address) == pod.ips.end()) continue;
        peer.pod = &pod;
        peer.namespace_labels = &world.namespaces.at({.ns = "", .name = name.ns}).meta.labels;
    }
    for (const auto& [name, node] : world.nodes) {
        if (std::ranges::find(node.internal_ips, peer.address) != node.internal_ips.end())
            peer.node = &node;
    }
    const FlowView flow{.direction = end.question.egress ? Direction::kEgress : Direction::kIngress,
                        .protocol = end.question.protocol,
                        .port = end.question.port,
                        .self = end.question.self};
    const auto policies = rig.compiler.policies_of(end.endpoint);
    return explain(policies, world.pods.at(end.question.pod), peer, flow).allowed;
}

class Cookbook : public testing::TestWithParam<std::string> {};

TEST_P(Cookbook, EverybodySaysWhatItSays) {
    const auto path = std::filesystem::path(WEIR_TEST_DATA) / (GetParam() + ".yaml");
    const World world = load_world(path);
    Rig rig;
    rig.tell({}, world);
    rig.flush();
    const auto rows = read_rows(world, path);
    EXPECT_FALSE(rows.empty());
    for (const Row& row : rows) {
        EXPECT_EQ(allowed(world, row.flow, kNode), row.allow) << "the reference: " << row.text;
        bool tables = true;
        bool words = true;
        for (const End& end : ends(world, row.flow)) {
            tables = tables && rig.ask(end.endpoint, end.question).allowed;
            words = words && explained(world, rig, end);
        }
        EXPECT_EQ(tables, row.allow) << "the tables: " << row.text;
        EXPECT_EQ(words, row.allow) << "explain: " << row.text;
    }
}

std::vector<std::string> names() {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(WEIR_TEST_DATA)) {
        const std::string name = entry.path().stem().string();
        if (entry.path().extension() == ".yaml" && name != "cluster") out.push_back(name);
    }
    std::ranges::sort(out);
    return out;
}

INSTANTIATE_TEST_SUITE_P(Files, Cookbook, testing::ValuesIn(names()), [](const auto& info) {
    std::string name = info.param;
    std::ranges::replace(name, '-', '_');
    return name;
});

}  // namespace
}  // namespace weir::policy::test
