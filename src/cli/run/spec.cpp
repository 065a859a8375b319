// SPDX-License-Identifier: Apache-2.0
#include "cli/run/spec.h"

#include <algorithm>

#include "common/number.h"
#include "flow/filter.h"

namespace weir::cli::run {
namespace {

bool is_alnum(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

// RFC 1123: lower-case letters, digits and '-', here also '.', ends are letters or digits.
bool is_dns_name(std::string_view text, size_t longest, bool dots) {
    if (text.empty() || text.size() > longest || !is_alnum(text.front()) ||
        !is_alnum(text.back())) {
        return false;
    }
    return std::ranges::all_of(
        text, [&](char c) { return is_alnum(c) || c == '-' || (dots && c == '.'); });
}

Result<uint16_t> parse_port(std::string_view option, std::string_view text) {
    const auto port = whole_number<uint16_t>(text);
    if (!port || *port == 0) {
        return fail(Errc::kInvalid, "{}: \"{}\" is no port (1 to 65535)", option, text);
    }
    return *port;
}

// What follows the last '/', TCP without one; `rest` keeps what stands before.
Result<model::Protocol> cut_protocol(std::string_view option, std::string& rest) {
    const size_t slash = rest.rfind('/');
    if (slash == std::string::npos) return model::Protocol::kTcp;
    const auto protocol = model::parse_protocol(rest.substr(slash + 1));
    if (!protocol) {
        return fail(Errc::kInvalid, "{} {}: the protocol must be TCP, UDP or SCTP", option, rest);
    }
    rest.erase(slash);
    return *protocol;
}

Result<Port> parse_port_option(const std::string& text) {
    Port port;
    std::string rest = text;
    if (const size_t equals = rest.find('='); equals != std::string::npos) {
        port.name = rest.substr(0, equals);
        rest.erase(0, equals + 1);
        if (!is_dns_name(port.name, 15, false)) {
            return fail(Errc::kInvalid,
                        "--port {}: the name must be 1 to 15 lower-case letters, digits or '-'",
                        text);
        }
    }
    port.protocol = WEIR_TRY(cut_protocol("--port", rest));
    port.number = WEIR_TRY(parse_port("--port", rest));
    return port;
}

Result<model::HostPort> parse_host_port(const std::string& text) {
    constexpr std::string_view kOption = "--host-port";
    std::string rest = text;
    model::HostPort port{.protocol = WEIR_TRY(cut_protocol(kOption, rest)), .host_ip = {}};
    const size_t colon = rest.rfind(':');
    if (colon == std::string::npos) {
        return fail(Errc::kInvalid, "{} {}: expected [ADDRESS:]HOSTPORT:PORT[/PROTOCOL]", kOption,
                    text);
    }
    port.container_port = WEIR_TRY(parse_port(kOption, std::string_view(rest).substr(colon + 1)));
    rest.erase(colon);
    if (const size_t address = rest.rfind(':'); address != std::string::npos) {
        const auto parsed = IpAddress::parse_host(std::string_view(rest).substr(0, address));
        if (!parsed) return Failure(Error(parsed.error()).with("{} {}", kOption, text));
        port.host_ip = *parsed;
        rest.erase(0, address + 1);
    }
    port.host_port = WEIR_TRY(parse_port(kOption, rest));
    return port;
}

Result<Readiness> parse_readiness(const std::string& text) {
    Readiness readiness;
    if (text == "none") return readiness;
    if (text.starts_with("tcp:")) {
        readiness.kind = Readiness::Kind::kTcp;
        readiness.port = WEIR_TRY(parse_port("--ready-when", std::string_view(text).substr(4)));
        return readiness;
    }
    if (text.starts_with("http:")) {
        const std::string rest = text.substr(5);
        const size_t slash = std::min(rest.find('/'), rest.size());
        readiness.kind = Readiness::Kind::kHttp;
        readiness.port = WEIR_TRY(parse_port("--ready-when", rest.substr(0, slash)));
        readiness.path = slash == rest.size() ? "/" : rest.substr(slash);
        if (readiness.path.find_first_of(" \r\n") == std::string::npos) return readiness;
    }
    return fail(Errc::kInvalid, "--ready-when {}: expected tcp:PORT, http:PORT/PATH or none", text);
}

Result<std::map<std::string, std::string>> parse_labels(const std::vector<std::string>& options) {
    std::map<std::string, std::string> labels;
    for (const auto& label : options) {
        const size_t equals = label.find('=');
        if (equals == std::string::npos || equals == 0) {
            return fail(Errc::kInvalid, "-l {}: expected KEY=VALUE", label);
        }
        labels[label.substr(0, equals)] = label.substr(equals + 1);
    }
    return labels;
}

}  // namespace

Result<PodSpec> parse_spec(const RunOptions& options) {
    constexpr const char* kRule =
        "lower-case letters, digits and '-', a letter or digit at both ends";
    if (!is_dns_name(options.name, 253, true)) {
        return fail(Errc::kInvalid, "--name \"{}\": {} ('.' too), at most 253", options.name,
                    kRule);
    }
    if (!is_dns_name(options.ns, 63, false)) {
        return fail(Errc::kInvalid, "-n \"{}\": {}, at most 63", options.ns, kRule);
    }
    PodSpec spec;
    spec.ns = options.ns;
    spec.name = options.name;
    spec.hostname = options.hostname.empty() ? options.name.substr(0, 63) : options.hostname;
    if (spec.hostname.size() > 64) {
        return fail(Errc::kInvalid, "--hostname {}: longer than 64", spec.hostname);
    }
    spec.labels = WEIR_TRY(parse_labels(options.labels));
    for (const auto& port : options.ports)
        spec.ports.push_back(WEIR_TRY(parse_port_option(port)));
    for (const auto& port : options.host_ports)
        spec.host_ports.push_back(WEIR_TRY(parse_host_port(port)));
    spec.readiness = WEIR_TRY(parse_readiness(options.ready_when));
    const auto drain = flow::parse_duration_ns(options.drain);
    if (!drain) return Failure(Error(drain.error()).with("--drain"));
    spec.drain = std::chrono::nanoseconds(*drain);
    spec.command = options.command;
    return spec;
}

}  // namespace weir::cli::run
