// SPDX-License-Identifier: Apache-2.0
#include "kube/api/access.h"

#include <cerrno>
#include <cstdlib>

#include "common/fd.h"
#include "common/ip.h"
#include "common/number.h"

namespace weir::kube::api {
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kHttps = "https://";
constexpr std::string_view kHttp = "http://";

Result<uint16_t> parse_port(std::string_view text, std::string_view url) {
    const auto port = whole_number<uint16_t>(text);
    if (!port || *port == 0) return fail(Errc::kInvalid, "\"{}\" is no port of \"{}\"", text, url);
    return *port;
}

bool valid_host(std::string_view host) {
    return !host.empty() && host.size() <= 253 &&
           host.find_first_not_of(
               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-"
               "_:") == std::string_view::npos;
}

bool valid_path(std::string_view path) {
    return path.find_first_of(" \t\r\n?#") == std::string_view::npos;
}

}  // namespace

Result<Server> Server::parse(std::string_view url) {
    Server server;
    std::string_view rest = url;
    if (rest.starts_with(kHttp)) {
        server.tls = false;
        server.port = 80;
        rest.remove_prefix(kHttp.size());
    } else if (rest.starts_with(kHttps)) {
        rest.remove_prefix(kHttps.size());
    } else if (rest.find("://") != std::string_view::npos) {
        return fail(Errc::kInvalid, "\"{}\": an API server's URL starts with https://", url);
    }
    const size_t slash = std::min(rest.find('/'), rest.size());
    server.path = rest.substr(slash);
    while (server.path.ends_with('/'))
        server.path.pop_back();
    std::string_view authority = rest.substr(0, slash);
    size_t colon = authority.rfind(':');
    if (authority.starts_with('[')) {
        const size_t bracket = authority.find(']');
        if (bracket == std::string_view::npos) {
            return fail(Errc::kInvalid, "\"{}\": a \"]\" is missing", url);
        }
        server.host = authority.substr(1, bracket - 1);
        if (!IpAddress::parse(server.host)) {
            return fail(Errc::kInvalid, "\"{}\": \"{}\" is no IPv6 address", url, server.host);
        }
        colon = bracket + 1 < authority.size() && authority[bracket + 1] == ':'
                    ? bracket + 1
                    : std::string_view::npos;
    } else {
        server.host = authority.substr(0, colon);
        if (server.host.find(':') != std::string::npos) {
            return fail(Errc::kInvalid, "\"{}\": an IPv6 address stands in brackets", url);
        }
    }
    if (colon != std::string_view::npos) {
        server.port = WEIR_TRY(parse_port(authority.substr(colon + 1), url));
    }
    if (!valid_host(server.host) || !valid_path(server.path)) {
        return fail(Errc::kInvalid, "\"{}\" is not a URL such as https://10.0.0.1:6443", url);
    }
    return server;
}

std::string Server::authority() const {
    const bool v6 = host.find(':') != std::string::npos;
    return v6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

std::string Server::to_string() const {
    return fmt::format("{}{}{}", tls ? kHttps : kHttp, authority(), path);
}

Result<std::string> Secret::read() const {
    if (file.empty()) return data;
    std::error_code error;
    const auto size = fs::file_size(file, error);
    if (!error && size > kMaxSecret) {
        return fail(Errc::kInvalid, "{} is over {} KiB", file.string(), kMaxSecret >> 10);
    }
    auto content = read_file(file);
    if (!content && content.error().os_errno() == EACCES) {
        return fail(Errc::kPermission,
                    "{}: let the user of the agent own it; it reads no files of others, not even "
                    "as root",
                    content.error().message());
    }
    return content;
}

bool in_cluster(const fs::path& directory) {
    std::error_code ignored;
    return std::getenv("KUBERNETES_SERVICE_HOST") != nullptr &&
           fs::exists(directory / "token", ignored);
}

Result<Access> in_cluster_access(const fs::path& directory) {
    const char* const host = std::getenv("KUBERNETES_SERVICE_HOST");
    const char* const port = std::getenv("KUBERNETES_SERVICE_PORT");
    if (host == nullptr || port == nullptr) {
        return fail(
            Errc::kNotFound,
            "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod "
            "of a cluster; give --kubeconfig, or objects in files by --source=file:DIR");
    }
    Access access;
    const bool v6 = std::string_view(host).find(':') != std::string_view::npos;
    access.servers.push_back(WEIR_TRY(
        Server::parse(v6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port))));
    access.token.file = directory / "token";
    access.ca.file = directory / "ca.crt";
    access.origin = directory.string();
    if (const auto ns = read_file(directory / "namespace"); ns && !ns->empty()) access.ns = *ns;
    WEIR_CHECK(access.token.read());
    WEIR_CHECK(access.ca.read());
    return access;
}

Result<void> use_servers(Access& access, const std::vector<std::string>& urls) {
    std::vector<Server> servers;
    for (const auto& url : urls)
        servers.push_back(WEIR_TRY(Server::parse(url)));
    if (!servers.empty()) access.servers = std::move(servers);
    return {};
}

}  // namespace weir::kube::api
