// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <ctime>

#include <boost/json.hpp>

#include "cli/exit_code.h"
#include "cli/show.h"
#include "cli/source.h"

namespace weir::cli {
namespace {

std::string join_map(const std::map<std::string, std::string>& map) {
    std::vector<std::string> parts;
    for (const auto& [key, value] : map)
        parts.push_back(key + "=" + value);
    return join(parts, ",");
}

Table pod_table(const std::vector<api::Pod>& pods) {
    Table table({{"NAMESPACE"},
                 {"NAME"},
                 {"READY"},
                 {"IP"},
                 {"DEVICE"},
                 {"AGE"},
                 {"ENDPOINT", true, true},
                 {"NETNS", true},
                 {"CONTAINER", true},
                 {"LABELS", true}});
    const auto now = int64_t{::time(nullptr)};
    for (const auto& pod : pods) {
        table.add({pod.ns, pod.name, pod.ready ? "yes" : "no", join(pod.ips, ","), pod.device,
                   age_text(pod.since, now), std::to_string(pod.endpoint), pod.netns,
                   pod.container_id.substr(0, 13), join_map(pod.labels)});
    }
    return table;
}

std::string field_lines(const std::vector<std::pair<std::string, std::string>>& fields) {
    std::string text;
    for (const auto& [name, value] : fields) {
        text += fmt::format("{:<12} {}\n", name, value.empty() ? "-" : value);
    }
    return text;
}

std::string pod_text(const api::Pod& pod) {
    return field_lines({{"Name", full_name(pod)},
                        {"UID", pod.uid},
                        {"Labels", join_map(pod.labels)},
                        {"Phase", pod.phase + (pod.ready ? ", ready" : ", not ready")},
                        {"Addresses", join(pod.ips, ", ")},
                        {"Device", fmt::format("{} (index {})", pod.device, pod.ifindex)},
                        {"Endpoint", std::to_string(pod.endpoint)},
                        {"Netns", pod.netns},
                        {"Container", pod.container_id},
                        {"Wired", pod.since}});
}

std::string port_text(const api::ServicePort& port) {
    std::string text = std::to_string(port.port);
    if (port.node_port != 0) text += ":" + std::to_string(port.node_port);
    return text + "/" + port.protocol;
}

Table service_table(const std::vector<api::Service>& services) {
    Table table({{"NAMESPACE"},
                 {"NAME"},
                 {"TYPE"},
                 {"CLUSTER-IP"},
                 {"PORTS"},
                 {"BACKENDS", false, true},
                 {"EXTERNAL-IP", true},
                 {"INTERNAL", true},
                 {"EXTERNAL", true},
                 {"AFFINITY", true}});
    for (const auto& service : services) {
        std::vector<std::string> ports;
        size_t backends = 0;
        for (const auto& port : service.ports) {
            const std::string text = port_text(port);
            if (std::ranges::find(ports, text) == ports.end()) ports.push_back(text);
            backends += port.backends.size();
        }
        table.add({service.ns, service.name, service.type, join(service.cluster_ips, ","),
                   join(ports, ","), std::to_string(backends), join(service.external_ips, ","),
                   service.internal_policy, service.external_policy,
                   service.affinity_seconds == 0
                       ? ""
                       : duration_text(static_cast<double>(service.affinity_seconds))});
    }
    return table;
}

std::string host_port(const std::string& address, uint64_t port) {
    return address.find(':') == std::string::npos ? fmt::format("{}:{}", address, port)
                                                  : fmt::format("[{}]:{}", address, port);
}

std::string service_text(const api::Service& service) {
    std::string text =
        field_lines({{"Name", full_name(service)},
                     {"Type", service.type},
                     {"ClusterIP", join(service.cluster_ips, ", ")},
                     {"External", join(service.external_ips, ", ")},
                     {"Admits", join(service.source_ranges, ", ")},
                     {"Policy", fmt::format("internal {}, external {}", service.internal_policy,
                                            service.external_policy)}});
    for (const auto& port : service.ports) {
        text += fmt::format("\nPort {}{} {} ({})\n", port.name.empty() ? "" : port.name + " ",
                            port_text(port), port.family, join(port.addresses, ", "));
        Table table({{"  BACKEND"}, {"STATE"}, {"POD"}, {"NODE"}});
        for (const auto& backend : port.backends) {
            table.add({"  " + host_port(backend.address, backend.port), backend.state, backend.pod,
                       backend.node});
        }
        text += table.empty() ? "  no usable backend: connections are refused\n" : table.text({});
    }
    return text;
}

Table backend_table(const std::vector<api::Backend>& backends) {
    Table table({{"ID", false, true}, {"ADDRESS"}, {"PROTOCOL"}, {"STATE"}, {"POD"}, {"SERVICES"}});
    for (const auto& backend : backends) {
        table.add({std::to_string(backend.id), host_port(backend.address, backend.port),
                   backend.protocol, backend.state, backend.pod, join(backend.services, ",")});
    }
    return table;
}

std::string ipam_text(const Invocation& invocation, const api::Ipam& ipam) {
    Table pools({{"RANGE"},
                 {"ROUTER"},
                 {"USED", false, true},
                 {"COOLING", false, true},
                 {"CAPACITY", false, true}});
    for (const auto& pool : ipam.pools) {
        pools.add({pool.cidr, pool.router, std::to_string(pool.used), std::to_string(pool.cooling),
                   std::to_string(pool.capacity)});
    }
    Table addresses(
        {{"ADDRESS"}, {"NAMESPACE"}, {"POD"}, {"INTERFACE"}, {"AGE"}, {"CONTAINER", true}});
    const auto now = int64_t{::time(nullptr)};
    for (const auto& address : ipam.addresses) {
        addresses.add({address.address, address.ns, address.pod, address.ifname,
                       age_text(address.since, now), address.container_id});
    }
    return pools.text(invocation.output) +
           (addresses.empty() ? "" : "\n" + addresses.text(invocation.output));
}

}  // namespace

int pod_list_command(const Invocation& invocation) {
    auto source = open_source(invocation);
    if (!source) return report(source.error());
    auto pods = (*source)->pods();
    if (!pods) return report(pods.error());
    keep_namespace(invocation, *pods);
    sort_by(*pods, [](const api::Pod& pod) { return std::tie(pod.ns, pod.name); });
    return show<api::Pod>(
        invocation, *pods, [&] { return pod_table(*pods); },
        [](const api::Pod& pod) { return "pod/" + full_name(pod); });
}

int pod_get_command(const Invocation& invocation) {
    auto source = open_source(invocation);
    if (!source) return report(source.error());
    auto pods = (*source)->pods();
    if (!pods) return report(pods.error());
    return show_one<api::Pod>(invocation, std::move(*pods), "pod", pod_text);
}

int service_list_command(const Invocation& invocation) {
    auto source = open_source(invocation);
    if (!source) return report(source.error());
    auto services = (*source)->services();
    if (!services) return report(services.error());
    keep_namespace(invocation, *services);
    sort_by(*services,
            [](const api::Service& service) { return std::tie(service.ns, service.name); });
    return show<api::Service>(
        invocation, *services, [&] { return service_table(*services); },
        [](const api::Service& service) { return "service/" + full_name(service); });
}

int service_get_command(const Invocation& invocation) {
    auto source = open_source(invocation);
    if (!source) return report(source.error());
    auto services = (*source)->services();
    if (!services) return report(services.error());
    return show_one<api::Service>(invocation, std::move(*services), "service", service_text);
}

int backend_list_command(const Invocation& invocation) {
    auto source = open_source(invocation);
    if (!source) return report(source.error());
    auto backends = (*source)->backends();
    if (!backends) return report(backends.error());
    sort_by(*backends, [](const api::Backend& backend) { return backend.id; });
    return show<api::Backend>(
        invocation, *backends, [&] { return backend_table(*backends); },
        [](const api::Backend& backend) { return fmt::format("backend/{}", backend.id); });
}

int ipam_list_command(const Invocation& invocation) {
    auto source = open_source(invocation);
    if (!source) return report(source.error());
    auto ipam = (*source)->ipam();
    if (!ipam) return report(ipam.error());
    keep_namespace(invocation, ipam->addresses);
    sort_by(ipam->addresses, [](const api::IpamAddress& address) {
        return std::tie(address.ns, address.pod, address.address);
    });
    switch (invocation.output.parsed()) {
        case Format::kJson:
            print(to_pretty_json(api::to_json(*ipam)));
            break;
        case Format::kYaml:
            print(to_yaml(api::to_json(*ipam)));
            break;
        case Format::kName:
            for (const auto& address : ipam->addresses)
                print(address.address + "\n");
            break;
        default:
            print(ipam_text(invocation, *ipam));
    }
    return kOk;
}

int drops_command(const Invocation& invocation) {
    auto source = open_source(invocation);
    if (!source) return report(source.error());
    auto drops = (*source)->drops();
    if (!drops) return report(drops.error());
    sort_by(*drops, [](const api::Drop& drop) { return std::tie(drop.reason, drop.direction); });
    if (drops->empty() && invocation.output.parsed() <= Format::kWide) {
        complain("no packet has been dropped");
        return kOk;
    }
    const auto table = [&] {
        Table drops_table({{"REASON"},
                           {"DIRECTION"},
                           {"PACKETS", false, true},
                           {"BYTES", false, true},
                           {"MEANING"}});
        for (const auto& drop : *drops) {
            drops_table.add({drop.reason, drop.direction, std::to_string(drop.packets),
                             std::to_string(drop.bytes), drop.text});
        }
        return drops_table;
    };
    return show<api::Drop>(invocation, *drops, table,
                           [](const api::Drop& drop) { return drop.reason; });
}

int config_command(const Invocation& invocation) {
    auto answer = invocation.client().get("/v1/config");
    if (!answer) return report(answer.error());
    auto settings = api::list_from_json<api::Setting>(*answer);
    if (!settings) return report(settings.error());
    const auto table = [&] {
        Table settings_table({{"SETTING"}, {"VALUE"}, {"FROM"}});
        for (const auto& setting : *settings) {
            settings_table.add({setting.name, setting.value, setting.origin});
        }
        return settings_table;
    };
    return show<api::Setting>(invocation, *settings, table,
                              [](const api::Setting& setting) { return setting.name; });
}

}  // namespace weir::cli
